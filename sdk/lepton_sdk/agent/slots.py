"""The device's two slots on disc: a folder each, the link to the active one, the anti-rollback counter.

ROOT/a/bundle.lep, ROOT/b/bundle.lep   at most two bundles; a slot folder is whole or absent
ROOT/active -> a                       replaced by rename; absent before the first model
ROOT/incoming/SHA256                   files being downloaded, named by their content
ROOT/record.json, ROOT/floor.json      what the machine remembers; the highest counter confirmed
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

from lepton_sdk.agent import record as records
from lepton_sdk.agent.record import AT_REST, Blob, Record, Slot
from lepton_sdk.durable import make_folder, replace_link, sync_folder, write_durably
from lepton_sdk.folder_lock import FolderLock
from lepton_targets.errors import BadInputError

BUNDLE = "bundle.lep"


class Slots:
    """All files of the device agent below one folder. Every method may be repeated after a crash."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.incoming = self.root / "incoming"
        make_folder(self.incoming)
        self._lock = FolderLock(self.root)

    def claim(self) -> None:
        """Keep other processes out until `release`. Raises UnavailableError naming the folder."""
        self._lock.acquire("give each device slots of its own, or stop the other")

    def release(self) -> None:
        self._lock.release()

    # ---- record and counter

    def load_record(self) -> Record:
        """What the machine remembered, with the floor of the counter file where that is higher.

        Raises BadInputError when either file is damaged: guessing could run an unproven model.
        """
        path = self.root / "record.json"
        record = records.load(path.read_bytes()) if path.exists() else Record()
        return replace(record, floor=max(record.floor, self.floor))

    def save_record(self, record: Record) -> None:
        write_durably(self.root / "record.json", records.dump(record))

    @property
    def floor(self) -> int:
        """Highest release counter ever confirmed here; 0 before the first."""
        path = self.root / "floor.json"
        if not path.exists():
            return 0
        try:
            return int(json.loads(path.read_bytes())["confirmed_counter"])
        except (ValueError, KeyError, TypeError) as error:
            raise BadInputError(
                f"the anti-rollback counter {path} is damaged: {error!r}",
                "restore it from a backup; without it an older release could be installed",
            ) from error

    def raise_floor(self, counter: int) -> None:
        """Only ever upwards."""
        if counter > self.floor:
            write_durably(self.root / "floor.json", json.dumps({"confirmed_counter": counter}).encode())

    # ---- downloads and slots

    def download(self, sha256: str) -> Path:
        """Where the file of this content is downloaded to, whole or in part."""
        return self.incoming / sha256

    def bundle(self, slot: Slot) -> Path:
        return self.root / slot / BUNDLE

    def stage(self, source: Path, slot: Slot) -> None:
        """Make `slot` hold `source` and nothing else; the folder appears whole, by one rename.

        Raises BadInputError when `slot` is the active one, OSError from the disc.
        """
        if self.active() is slot:
            raise BadInputError(f"slot {slot} is active and can't be staged into")
        fresh, folder = self.root / f".{slot}.new", self.root / slot
        _remove(fresh)
        fresh.mkdir()
        _copy(source, fresh / BUNDLE)
        sync_folder(fresh)
        _remove(folder)
        os.rename(fresh, folder)
        sync_folder(self.root)

    def active(self) -> Slot | None:
        """The slot the link points at; None before the first model."""
        try:
            return Slot(os.readlink(self.root / "active"))
        except (FileNotFoundError, ValueError):  # ValueError: a link that this agent did not make
            return None

    def activate(self, slot: Slot | None) -> None:
        """Point the link at `slot` in one step; None removes it."""
        link = self.root / "active"
        if slot is not None:
            replace_link(link, slot.value)
            return
        with contextlib.suppress(FileNotFoundError):
            link.unlink()
        sync_folder(self.root)

    def agree_with(self, record: Record) -> None:
        """Remove what the record does not name; at rest, point the link where it says.

        While a link is being replaced (SWITCH, ROLLING_BACK) it is left alone: the machine asks for it next.
        """
        active = None if record.active is None else record.active.slot
        if record.phase in AT_REST and self.active() is not active:
            self.activate(active)
        named = {installed.slot for installed in (record.active, record.previous) if installed is not None}
        candidate = record.candidate
        if candidate is not None:
            named.add(candidate.slot)
        linked = self.active()
        for slot in Slot:
            if slot not in named and slot is not linked:
                _remove(self.root / slot)
            _remove(self.root / f".{slot}.new")
        wanted = None if candidate is None else candidate.blob.sha256
        self._remove_downloads(keep=wanted)

    def free_space(self) -> None:
        """Give up what is being downloaded, so that the record can be written on a full disc."""
        self._remove_downloads(keep=None)

    def require_space_for(self, blob: Blob) -> None:
        """Raises OSError (ENOSPC) unless the file fits twice: as a download and in its slot."""
        part = self.download(blob.sha256).with_name(blob.sha256 + ".part")
        here = part.stat().st_size if part.exists() else 0
        free = shutil.disk_usage(self.root).free
        if free < 2 * blob.size - here:
            detail = f"{free} bytes are free, {2 * blob.size - here} are needed for the release"
            raise OSError(errno.ENOSPC, detail, str(self.root))

    def _remove_downloads(self, keep: str | None) -> None:
        for path in self.incoming.iterdir():
            if keep is None or not path.name.lstrip(".").startswith(keep):
                _remove(path)


def is_disc_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _copy(source: Path, goal: Path) -> None:
    """Copy and fsync; no hard link, so that nothing that still writes `source` reaches the slot."""
    with source.open("rb") as reader, goal.open("xb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
