"""Subscriptions by filter: which callbacks a delivery goes to, and when all of them have acknowledged it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from lepton_sdk.wire.topics import matches
from lepton_sdk.wire.transport import Delivery, DeliveryCallback

logger = logging.getLogger(__name__)


class Subscriptions:
    """Callbacks by topic filter; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[tuple[str, DeliveryCallback, int]] = []

    def add(self, topic_filter: str, callback: DeliveryCallback, qos: int) -> None:
        with self._lock:
            self._entries.append((topic_filter, callback, qos))

    def remove(self, topic_filter: str, callback: DeliveryCallback) -> bool:
        """Forget one subscription; True when its filter is now unused."""
        with self._lock:
            self._entries = [e for e in self._entries if e[:2] != (topic_filter, callback)]
            return all(entry[0] != topic_filter for entry in self._entries)

    def filters(self) -> dict[str, int]:
        """Every filter in use with its quality of service."""
        with self._lock:
            return {topic_filter: qos for topic_filter, _, qos in self._entries}

    def deliver(self, topic: str, payload: bytes, retained: bool, acknowledge: Callable[[], None]) -> None:
        """Call every matching callback; `acknowledge` runs once, after each of them has acknowledged.

        A callback that raises is logged and counts as having acknowledged: one faulty listener must not
        fill the broker's window for the others.
        """
        with self._lock:
            callbacks = [
                callback for topic_filter, callback, _ in self._entries if matches(topic_filter, topic)
            ]
        if not callbacks:
            acknowledge()
            return
        countdown = _Countdown(len(callbacks), acknowledge)
        for callback in callbacks:
            acknowledge_once = countdown.share()
            try:
                callback(Delivery(topic, payload, retained, acknowledge_once))
            except Exception:
                logger.exception("a listener of %s failed", topic)
                acknowledge_once()


class _Countdown:
    def __init__(self, count: int, done: Callable[[], None]) -> None:
        self._left, self._done, self._lock = count, done, threading.Lock()

    def share(self) -> Callable[[], None]:
        used = False

        def acknowledge() -> None:
            nonlocal used
            with self._lock:
                if used:
                    return
                used = True
                self._left -= 1
                last = self._left == 0
            if last:
                self._done()

        return acknowledge
