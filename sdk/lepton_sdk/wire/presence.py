"""Tells on the device's `status` topic that it is here, and has the broker tell when it vanishes."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from lepton_sdk.wire import codec
from lepton_sdk.wire.status import Status
from lepton_sdk.wire.topics import Topics
from lepton_sdk.wire.transport import Transport


class Presence:
    """One device's status, for as long as its process lives. To be made before the transport is started, for
    its last will is part of the connection. `boot_id` names this life of the process."""

    def __init__(
        self, transport: Transport, device: str, tenant: str, folder: Path, version: str = ""
    ) -> None:
        """folder: where the device keeps its models; its free space is told."""
        self._transport, self._device, self._folder, self._version = transport, device, folder, version
        self._topic = Topics(tenant).status(device)
        self.boot_id = secrets.token_bytes(8)
        transport.set_last_will(self._topic, self._status(online=False))

    def begin(self) -> None:
        """Tell at every connection that the device is online."""
        self._transport.on_connection(self._on_connection)

    def end(self) -> None:
        """Tell that this device is offline now."""
        self._transport.publish(self._topic, self._status(online=False), retain=True)

    def _on_connection(self, connected: bool) -> None:
        if connected:
            self._transport.publish(self._topic, self._status(online=True), retain=True)

    def _status(self, online: bool) -> bytes:
        free_bytes = shutil.disk_usage(self._folder).free
        return codec.encode(Status(self._device, online, self.boot_id, self._version, free_bytes))
