"""An artifact fetched by blocks: what has arrived survives a restart, what is lost is asked for again.

The bytes grow in order in `GOAL.part`; its size is where a restarted download goes on. The whole is named
by its SHA-256, checked before the rename that makes it visible.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from lepton_sdk.durable import make_folder, sync_folder
from lepton_sdk.wire.blocks import BLOCK_BYTES, MAX_RANGES, Block, Want
from lepton_sdk.wire.codec import decode, encode
from lepton_sdk.wire.identity import Identity, PublicKey
from lepton_sdk.wire.topics import Topics
from lepton_sdk.wire.transport import Delivery, Transport
from lepton_targets.errors import BadInputError, CheckFailedError, LeptonError, UnavailableError

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


@dataclass
class _Partial:
    """What is here: `offset` bytes in the file, later blocks in memory; `total` once a block has told it."""

    file: BinaryIO
    offset: int
    total: int | None = None
    ahead: dict[int, bytes] = field(default_factory=dict)
    asked: set[int] = field(default_factory=set)

    @property
    def complete(self) -> bool:
        return self.total is not None and self.offset >= self.total

    def missing(self, window: int) -> list[int]:
        """Offsets of the next blocks that are neither here nor asked for."""
        end = self.offset + window * BLOCK_BYTES
        if self.total is not None:
            end = min(end, self.total)
        offsets = range(self.offset, max(end, self.offset + 1), BLOCK_BYTES)
        return [offset for offset in offsets if offset not in self.ahead and offset not in self.asked]

    def take(self, block: Block) -> bool:
        """Keep a block; True when the file grew."""
        self.asked.discard(block.offset)
        self.total = block.artifact_bytes
        if block.offset > self.offset:
            self.ahead[block.offset] = block.content
            return False
        if block.offset < self.offset:
            return False
        content: bytes | None = block.content
        before = self.offset
        while content:
            self.file.write(content)
            self.offset += len(content)
            content = self.ahead.pop(self.offset, None)
        return self.offset > before


class Downloader:
    """Fetches artifacts from whichever server holds them. One at a time; blocking, so of its own thread.

    window: blocks asked for at once. retry_s: first wait before blocks are asked for again; it doubles up to
    thirty times itself. `forged` counts blocks that were dropped because the server didn't sign them.
    """

    def __init__(
        self,
        transport: Transport,
        identity: Identity,
        server_key: PublicKey,
        tenant: str,
        *,
        window: int = 8,
        retry_s: float = 0.5,
    ) -> None:
        self._transport, self._identity, self._server_key = transport, identity, server_key
        self._topics = Topics(tenant)
        self._window = min(window, MAX_RANGES)
        self._retry_s = retry_s
        self._arrived: queue.SimpleQueue[Block] = queue.SimpleQueue()
        self.forged = 0

    def fetch(
        self,
        sha256: bytes,
        goal: Path,
        *,
        timeout_s: float,
        max_bytes: int,
        stop: threading.Event | None = None,
        progress: Progress | None = None,
    ) -> Path:
        """Make `goal` hold the artifact; returns it at once when it already does.

        timeout_s: how long nothing may arrive. progress: called with (bytes here, bytes in all).
        Raises UnavailableError (no server answers, stopped, disc full), BadInputError (more than
        `max_bytes`), CheckFailedError (the whole has another hash, twice).
        """
        if goal.exists() and _sha256_of(goal) == sha256:
            return goal
        make_folder(goal.parent)
        topic = self._topics.block(self._identity.device_id)
        self._transport.subscribe(topic, self._on_block)
        try:
            for attempt in range(2):
                part = goal.with_name(goal.name + ".part")
                self._fill(part, sha256, timeout_s, max_bytes, stop or threading.Event(), progress)
                found = _sha256_of(part)
                if found == sha256:
                    os.replace(part, goal)
                    sync_folder(goal.parent)
                    return goal
                part.unlink()
                logger.warning("artifact %s arrived as %s (try %d)", sha256.hex(), found.hex(), attempt + 1)
            raise CheckFailedError(
                f"artifact {sha256.hex()} arrived twice with another content",
                "the server's copy is damaged: publish the artifact again",
            )
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise UnavailableError(f"no space left for artifact {sha256.hex()} at {goal}") from error
            raise
        finally:
            self._transport.unsubscribe(topic, self._on_block)

    def _fill(
        self,
        part: Path,
        sha256: bytes,
        timeout_s: float,
        max_bytes: int,
        stop: threading.Event,
        progress: Progress | None,
    ) -> None:
        """Let the partial file grow to the artifact's whole length."""
        with part.open("ab") as file:
            partial = _Partial(file, offset=file.seek(0, os.SEEK_END))
            retry_s, last_growth = self._retry_s, time.monotonic()
            ask_again_at = 0.0
            while not partial.complete:
                now = time.monotonic()
                if stop.is_set():
                    raise UnavailableError(f"download of {sha256.hex()} was stopped")
                if now - last_growth > timeout_s:
                    raise UnavailableError(
                        f"no server gave artifact {sha256.hex()} within {timeout_s:g} s "
                        f"({partial.offset} of {partial.total or 'unknown'} bytes are here)"
                    )
                if now >= ask_again_at:
                    partial.asked.clear()
                    ask_again_at = now + retry_s
                    retry_s = min(2 * retry_s, 30 * self._retry_s)
                if len(partial.asked) <= self._window // 2:
                    self._ask(sha256, partial)
                block = self._next_block(min(ask_again_at - now, 0.2))
                if block is None or block.artifact_sha256 != sha256:
                    continue
                if block.artifact_bytes > max_bytes:
                    raise BadInputError(
                        f"artifact {sha256.hex()} has {block.artifact_bytes} bytes, "
                        f"at most {max_bytes} are accepted"
                    )
                if partial.take(block):
                    retry_s, last_growth = self._retry_s, time.monotonic()
                    ask_again_at = last_growth + retry_s
                    if progress is not None:
                        progress(partial.offset, block.artifact_bytes)
            file.flush()
            os.fsync(file.fileno())

    def _ask(self, sha256: bytes, partial: _Partial) -> None:
        offsets = partial.missing(self._window)
        if not offsets:
            return
        partial.asked.update(offsets)
        ranges = tuple(number for offset in offsets for number in (offset, BLOCK_BYTES))
        want = self._identity.sign(Want(self._topics.tenant, self._identity.device_id, sha256, ranges))
        self._transport.publish(self._topics.want(self._identity.device_id), encode(want))

    def _next_block(self, timeout_s: float) -> Block | None:
        try:
            return self._arrived.get(timeout=max(timeout_s, 0.001))
        except queue.Empty:
            return None

    def _on_block(self, delivery: Delivery) -> None:
        delivery.acknowledge()
        try:
            block = decode(Block, delivery.payload)
            self._server_key.verify(block)
        except LeptonError as error:
            self.forged += 1
            logger.warning("a block was dropped: %s", error.message)
            return
        if block.tenant == self._topics.tenant:
            self._arrived.put(block)


def _sha256_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
