"""Serves artifacts by blocks out of a folder whose files are named by their SHA-256."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from pathlib import Path

from lepton_sdk.durable import make_folder, write_durably
from lepton_sdk.wire.blocks import Block, Want
from lepton_sdk.wire.codec import decode, encode
from lepton_sdk.wire.identity import AllowList, Identity
from lepton_sdk.wire.topics import ANY_DEVICE, Topics, device_of
from lepton_sdk.wire.transport import Delivery, Transport
from lepton_targets.errors import BadInputError, LeptonError, SignatureError

logger = logging.getLogger(__name__)


class BlobFolder:
    """Content-addressed files: `put` names them, `path` finds them."""

    def __init__(self, folder: Path) -> None:
        self.folder = make_folder(folder)

    def put(self, content: bytes) -> bytes:
        """Keep `content` durably; returns its SHA-256 (32 bytes)."""
        sha256 = hashlib.sha256(content).digest()
        if not self.path(sha256).exists():
            write_durably(self.path(sha256), content)
        return sha256

    def get(self, sha256: bytes) -> bytes:
        """The content; raises BadInputError when it is not here or no longer what its name says."""
        try:
            content = self.path(sha256).read_bytes()
        except FileNotFoundError as error:
            raise BadInputError(f"no blob {sha256.hex()} in {self.folder}") from error
        if hashlib.sha256(content).digest() != sha256:
            raise BadInputError(f"blob {sha256.hex()} in {self.folder} is damaged")
        return content

    def path(self, sha256: bytes) -> Path:
        return self.folder / sha256.hex()


class BlockServer:
    """Answers `up/want` of allowed devices with signed blocks; silent about artifacts it doesn't hold,
    since another server may. `counts` holds blocks given and wants refused by reason."""

    def __init__(
        self, transport: Transport, identity: Identity, blobs: BlobFolder, tenant: str, allow: AllowList
    ) -> None:
        self._transport, self._identity, self._allow = transport, identity, allow
        self.blobs = blobs
        self._topics = Topics(tenant)
        self.counts: Counter[str] = Counter()

    def start(self) -> None:
        """Begin to answer."""
        self._transport.subscribe(self._topics.want(ANY_DEVICE), self.answer)

    def answer(self, delivery: Delivery) -> None:
        """Answer one want; a bad one is counted and dropped."""
        delivery.acknowledge()
        try:
            want = self._checked(delivery)
        except LeptonError as error:
            self.counts["refused"] += 1
            logger.warning("a want was refused: %s", error.message)
            return
        path = self.blobs.path(want.artifact_sha256)
        if not path.exists():
            self.counts["unknown"] += 1
            return
        with path.open("rb") as file:
            total = path.stat().st_size
            for offset, length in want.pairs():
                file.seek(min(offset, total))
                block = Block(
                    self._topics.tenant, want.artifact_sha256, total, min(offset, total), file.read(length)
                )
                self._transport.publish(self._topics.block(want.device), encode(self._identity.sign(block)))
                self.counts["blocks"] += 1

    def _checked(self, delivery: Delivery) -> Want:
        device = device_of(delivery.topic)
        want = decode(Want, delivery.payload)
        key = self._allow.get(device)
        if key is None:
            raise SignatureError(f"device {device} is not on the allow-list")
        if (want.device, want.tenant) != (device, self._topics.tenant):
            raise SignatureError(f"a want of {want.tenant}/{want.device} came on the topic of {device}")
        key.verify(want)
        return want
