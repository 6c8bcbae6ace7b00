"""The fleet's folder on the server: settings, key, published releases, and where roll-outs stand.

HOME/fleet.toml               tenant, server key, folder of allowed device keys; [broker] as everywhere
HOME/server.pem               signs wishes and blocks; devices hold its public half
HOME/blobs/SHA256             files that devices download
HOME/releases/N.release       signed statements; N is the counter
HOME/rollouts/N.json          the state of release N's roll-out
HOME/sequence.json            the last sequence number given to a wish
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lepton_fleet import rollout as rollouts
from lepton_fleet.blocks import BlobFolder
from lepton_fleet.rollout import Rollout
from lepton_sdk.agent.record import Release
from lepton_sdk.agent.shadow import ReleaseStatement
from lepton_sdk.durable import write_durably
from lepton_sdk.folder_lock import FolderLock
from lepton_sdk.wire.codec import decode
from lepton_sdk.wire.configuration import Broker, read_broker, read_configuration
from lepton_sdk.wire.identity import AllowList, Identity, PublicKey
from lepton_sdk.wire.topics import check_name
from lepton_targets.errors import BadInputError, UnavailableError, UsageError


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """What `fleet.toml` says; paths are relative to its folder."""

    tenant: str = "default"
    server_key: str = "server.pem"
    allow: str = "devices"
    host: str = "127.0.0.1"
    port: int = 1883

    def toml(self) -> str:
        broker = f"[broker]\nhost = {json.dumps(self.host)}\nport = {self.port}\n"
        names = ("tenant", "server_key", "allow")
        return "".join(f"{name} = {json.dumps(getattr(self, name))}\n" for name in names) + f"\n{broker}"


class FleetHome:
    """The folder, opened. Raises UnavailableError (none there) or UsageError (settings malformed)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings, self.broker = _settings(folder / "fleet.toml")
        self.blobs = BlobFolder(folder / "blobs")

    @classmethod
    def create(cls, folder: Path, settings: FleetSettings) -> FleetHome:
        """Make the folder with a key of its own where none is named. Raises UsageError if there is one."""
        if (folder / "fleet.toml").exists():
            raise UsageError(
                f"{folder} is a fleet's folder already", "choose another, or edit its fleet.toml"
            )
        check_name(settings.tenant, "tenant")
        Identity.load_or_create(folder / settings.server_key)
        (folder / settings.allow).mkdir(parents=True, exist_ok=True)
        write_durably(folder / "fleet.toml", settings.toml().encode())
        return cls(folder)

    def server(self) -> Identity:
        """The key that signs wishes and blocks."""
        return Identity.load(self.folder / self.settings.server_key)

    def allow(self, folder: Path | None = None) -> AllowList:
        """The devices of the fleet: keys in `folder`, else in the one of the settings."""
        return AllowList(folder=folder or self.folder / self.settings.allow)

    def enrol(self, keys: Sequence[Path]) -> list[tuple[str, Path]]:
        """Add public keys to the allow-list; (device id, its file there) of each.

        All or none: raises UnavailableError or BadInputError for a file that is no device's public key.
        """
        found = [(PublicKey.load(path).id, path.read_bytes()) for path in keys]
        folder = self.folder / self.settings.allow
        return [(device, write_durably(folder / f"{device}.pub.pem", pem)) for device, pem in found]

    # ---- releases

    def highest_counter(self) -> int:
        """0 before the first release."""
        names = (path.stem for path in (self.folder / "releases").glob("*.release"))
        return max((int(name) for name in names if name.isdigit()), default=0)

    def save_release(self, counter: int, statement: bytes) -> None:
        write_durably(self._release_path(counter), statement)

    def release(self, counter: int | None = None) -> tuple[Release, bytes]:
        """A published release, the last one for None, with its signed statement. Raises UsageError."""
        number = self.highest_counter() if counter is None else counter
        path = self._release_path(number)
        if not path.exists():
            known = f"published: 1 to {self.highest_counter()}" if self.highest_counter() else "none is yet"
            raise UsageError(
                f"there is no release {number} in {self.folder}", f"{known};  lepton fleet release BUNDLE"
            )
        content = path.read_bytes()
        return decode(ReleaseStatement, content).release(), content

    def _release_path(self, counter: int) -> Path:
        return self.folder / "releases" / f"{counter}.release"

    # ---- roll-outs

    def next_sequence(self) -> int:
        """Two numbers nobody was given before: the returned one for orders, the next for a withdrawal."""
        with self.lock("sequence"):
            path = self.folder / "sequence.json"
            last = int(json.loads(path.read_bytes())["last"]) if path.exists() else 0
            write_durably(path, json.dumps({"last": last + 2}).encode())
        return last + 1

    def save_rollout(self, rollout: Rollout) -> None:
        content = json.dumps(rollouts.to_fields(rollout), sort_keys=True, indent=1).encode()
        write_durably(self._rollout_path(rollout.plan.counter), content)

    def rollout(self, counter: int) -> Rollout | None:
        """Where the roll-out of a release stands; None before its start. Raises BadInputError."""
        path = self._rollout_path(counter)
        if not path.exists():
            return None
        try:
            return rollouts.from_fields(json.loads(path.read_bytes()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadInputError(f"the roll-out's state {path} is damaged: {error!r}") from error

    def _rollout_path(self, counter: int) -> Path:
        return self.folder / "rollouts" / f"{counter}.json"

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Keep other processes out. Raises UnavailableError when one is inside."""
        lock = FolderLock(self.folder, f".{name}.lock")
        lock.acquire(f"it holds the {name}; wait until it has ended")
        try:
            yield
        finally:
            lock.release()


def _settings(path: Path) -> tuple[FleetSettings, Broker]:
    if not path.exists():
        raise UnavailableError(f"{path.parent} is no fleet's folder", "make one:  lepton fleet init DIR")
    whole, defaults = read_configuration(path), FleetSettings()
    broker = read_broker(whole.section("broker"))
    settings = FleetSettings(
        whole.text("tenant", defaults.tenant),
        whole.text("server_key", defaults.server_key),
        whole.text("allow", defaults.allow),
        broker.host,
        broker.port,
    )
    whole.finish()
    check_name(settings.tenant, "tenant")
    return settings, broker
