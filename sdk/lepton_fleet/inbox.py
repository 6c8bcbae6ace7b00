"""What has arrived and is not dealt with yet, bounded in bytes.

Honest devices send what they were granted, but a broker passes on whatever it is given, and messages of
quality of service 0 without any window. Beyond the limit a message is dropped; whoever needs an answer sends
it again by timer.
"""

from __future__ import annotations

import queue
import threading
from typing import Generic, TypeVar

from lepton_sdk.wire.transport import Delivery

T = TypeVar("T")


class Inbox(Generic[T]):
    """Deliveries from the transport's thread, and items of this side (T), which are never dropped."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._queue: queue.SimpleQueue[Delivery | T] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._bytes = 0
        self._dropped = 0

    def deliver(self, delivery: Delivery) -> None:
        """Keep a delivery, or drop and acknowledge it where there is no room."""
        with self._lock:
            room = self._bytes + len(delivery.payload) <= self._limit_bytes
            if room:
                self._bytes += len(delivery.payload)
            else:
                self._dropped += 1
        if room:
            self._queue.put(delivery)
        else:
            delivery.acknowledge()

    def put(self, item: T) -> None:
        """Keep an item of this side."""
        self._queue.put(item)

    def take(self, timeout_s: float, max_bytes: int, max_messages: int) -> list[Delivery | T]:
        """What has come, in order, up to about `max_bytes`; [] when nothing came within `timeout_s`."""
        batch: list[Delivery | T] = []
        size = 0
        try:
            item = self._queue.get(timeout=timeout_s)
            while True:
                batch.append(item)
                size += len(item.payload) if isinstance(item, Delivery) else 0
                if size >= max_bytes or len(batch) >= max_messages:
                    break
                item = self._queue.get_nowait()
        except queue.Empty:
            pass
        with self._lock:
            self._bytes -= size
        return batch

    def take_dropped(self) -> int:
        """How many deliveries were dropped since this was asked last."""
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        return dropped
