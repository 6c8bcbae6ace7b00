"""A role's TOML file, read section by section: typed values, unknown keys refused, paths beside the file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lepton_sdk.wire.mqtt import MqttTransport, Tls
from lepton_targets.errors import UsageError, nearest

_MISSING = object()


def read_configuration(path: Path) -> Section:
    """The whole file as a section. Raises UsageError where it can't be read or is no TOML."""
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    return Section(content, path.parent, "")


class Section:
    """A table of the file. Every getter takes a key out; `finish` refuses what nobody asked for."""

    def __init__(self, content: Mapping[str, Any], folder: Path, name: str) -> None:
        self.content = dict(content)
        self.folder = folder
        self._name = name
        self._known: list[str] = []

    def section(self, key: str) -> Section:
        """A table inside, empty where the file has none."""
        return Section(self._typed(key, dict, {}), self.folder, self._full(key))

    def __contains__(self, key: str) -> bool:
        return key in self.content

    def text(self, key: str, default: Any = _MISSING) -> str:
        return str(self._typed(key, str, default))

    def whole(self, key: str, default: Any = _MISSING) -> int:
        return int(self._typed(key, int, default))

    def number(self, key: str, default: Any = _MISSING) -> float:
        return float(self._typed(key, (int, float), default))

    def path(self, key: str, default: Any = _MISSING) -> Path:
        """A path, relative to the configuration's folder."""
        return Path(self.folder, self._typed(key, str, default))

    def optional_path(self, key: str) -> Path | None:
        self._known.append(key)
        return self.path(key) if key in self.content else None

    def paths(self, key: str) -> tuple[Path, ...] | None:
        """A list of paths; None where the file has none."""
        self._known.append(key)
        if key not in self.content:
            return None
        return tuple(self.folder / str(path) for path in self._typed(key, list, []))

    def rest(self) -> dict[str, Any]:
        """Everything left, for whoever checks it himself."""
        content, self.content = self.content, {}
        return content

    def finish(self) -> None:
        """Raises UsageError naming a key that means nothing here."""
        for key in self.content:
            raise UsageError(
                f"unknown key {self._full(key)}{nearest(key, self._known)}",
                f"known here: {', '.join(sorted(set(self._known)))}",
            )

    def _full(self, key: str) -> str:
        return f"{self._name}.{key}" if self._name else key

    def _typed(self, key: str, kinds: type | tuple[type, ...], default: Any) -> Any:
        self._known.append(key)
        value = self.content.pop(key, default)
        if value is _MISSING:
            raise UsageError(f"the key {self._full(key)} is missing from the configuration")
        if not isinstance(value, kinds) or isinstance(value, bool):
            names = " or ".join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
            raise UsageError(f"{self._full(key)} = {value!r}: {names} is accepted")
        return value


@dataclass(frozen=True, slots=True)
class Broker:
    """What `[broker]` says: where it is, how long to wait for it, how to prove who is there."""

    host: str
    port: int
    connect_timeout_s: float
    keepalive_s: int
    username: str
    password_file: Path | None
    tls: Tls | None

    def transport(self, client_id: str) -> MqttTransport:
        """A transport that is not started yet. Raises UsageError for a password file that can't be read."""
        return MqttTransport(
            self.host,
            self.port,
            client_id,
            keepalive_s=self.keepalive_s,
            tls=self.tls,
            username=self.username or None,
            password=_secret(self.password_file) if self.password_file else None,
        )


def broker_transport(section: Section, client_id: str) -> tuple[MqttTransport, float]:
    """The transport that `[broker]` describes, not started yet, and how long to wait for it in seconds.

    Raises UsageError, as `read_broker` does.
    """
    broker = read_broker(section)
    return broker.transport(client_id), broker.connect_timeout_s


def read_broker(section: Section) -> Broker:
    """`[broker]` as a value.

    Keys: host, port, connect_timeout_s, keepalive_s, username, password_file, and for TLS authority,
    certificate, private_key (PEM files). Raises UsageError.
    """
    authority, certificate = section.optional_path("authority"), section.optional_path("certificate")
    private_key, password_file = section.optional_path("private_key"), section.optional_path("password_file")
    if (certificate or private_key) and authority is None:
        raise UsageError(
            "[broker] names a certificate or private_key but no authority, so nothing would be encrypted",
            "name the PEM file of the broker's authority as `authority`",
        )
    broker = Broker(
        host=section.text("host", "127.0.0.1"),
        port=section.whole("port", 1883),
        connect_timeout_s=section.number("connect_timeout_s", 30.0),
        keepalive_s=section.whole("keepalive_s", 15),
        username=section.text("username", ""),
        password_file=password_file,
        tls=Tls(authority, certificate, private_key) if authority else None,
    )
    section.finish()
    return broker


def _secret(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read broker.password_file {path}: {error}") from error
