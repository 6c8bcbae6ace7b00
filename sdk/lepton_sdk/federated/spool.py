"""Updates on disc, each whole or absent, from the end of training until a receipt names them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lepton_sdk.durable import make_folder, sync_folder, write_durably
from lepton_sdk.folder_lock import FolderLock
from lepton_sdk.wire.codec import decode, encode, require
from lepton_targets.errors import MessageError

logger = logging.getLogger(__name__)

_SUFFIX = ".update"
_LIMIT = 1 << 31


@dataclass(frozen=True, slots=True)
class SpooledUpdate:
    """One update as it lies on disc: its payload and what its offer says of it."""

    kind: ClassVar[str] = "spooled"
    job: str
    round: int
    base_model_sha256: bytes
    update_id: bytes
    n_examples: int
    chunk_bytes: int
    inline_bytes: int
    metrics: Mapping[str, int | float]
    payload: bytes

    def __post_init__(self) -> None:
        require(len(self.update_id) == 16 and len(self.base_model_sha256) == 32, "spooled: malformed")
        require(self.chunk_bytes >= 1 and bool(self.payload), "spooled: malformed")

    def chunk(self, index: int) -> bytes:
        """Bytes of chunk `index`; b"" beyond the end."""
        return self.payload[index * self.chunk_bytes : (index + 1) * self.chunk_bytes]

    @property
    def n_chunks(self) -> int:
        return -(-len(self.payload) // self.chunk_bytes)

    def chunk_sha256(self) -> tuple[bytes, ...]:
        """SHA-256 of each chunk in order."""
        return tuple(hashlib.sha256(self.chunk(index)).digest() for index in range(self.n_chunks))


class Spool:
    """A folder of updates that wait for their receipts."""

    def __init__(self, folder: Path) -> None:
        self.folder = make_folder(folder)
        self._lock = FolderLock(folder)

    def claim(self) -> None:
        """Keep other processes out until `release`, and remove what one left that ended while it wrote.

        Raises UnavailableError naming the folder where another process is inside.
        """
        self._lock.acquire("give each device, and each of its jobs, a spool of its own, or stop the other")
        for unfinished in self.folder.glob(f".*{_SUFFIX}.*"):
            unfinished.unlink(missing_ok=True)

    def release(self) -> None:
        self._lock.release()

    def put(self, update: SpooledUpdate) -> None:
        """Keep `update`: written, fsynced, renamed, the folder fsynced. Raises OSError (disc full)."""
        write_durably(self._path(update.update_id), encode(update), mode=0o600)

    def pending(self) -> tuple[SpooledUpdate, ...]:
        """What waits, oldest round first. A damaged file is set aside (suffix .damaged) and logged."""
        found = []
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            try:
                found.append(decode(SpooledUpdate, path.read_bytes(), limit=_LIMIT))
            except MessageError as error:
                aside = path.with_suffix(".damaged")
                path.rename(aside)
                logger.error("a spooled update was damaged and is set aside as %s: %s", aside, error.message)
        return tuple(sorted(found, key=lambda update: (update.round, update.update_id)))

    def remove(self, update_id: bytes) -> None:
        """Forget an update whose receipt has come."""
        self._path(update_id).unlink(missing_ok=True)
        sync_folder(self.folder)

    def _path(self, update_id: bytes) -> Path:
        return self.folder / f"{update_id.hex()}{_SUFFIX}"
