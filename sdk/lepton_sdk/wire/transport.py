"""What carries topics: the Protocol that the drivers know; mqtt.py and loopback.py keep it.

A delivery is acknowledged by hand, after whatever it brought is durable. Publishing promises nothing:
what must arrive is sent again by timers until a receipt names it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that arrived. `acknowledge()` tells the broker that it may forget it; from any thread."""

    topic: str
    payload: bytes
    retained: bool
    acknowledge: Callable[[], None]


DeliveryCallback = Callable[[Delivery], None]
ConnectionCallback = Callable[[bool], None]


class Transport(Protocol):
    """Carries payloads by topic. Callbacks run on the transport's thread and must return soon."""

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        """Send once if connected; without a connection the message is dropped."""

    def subscribe(self, topic_filter: str, callback: DeliveryCallback, qos: int = 1) -> None:
        """Deliver what matches to `callback`, now and after every reconnection, in order of arrival."""

    def unsubscribe(self, topic_filter: str, callback: DeliveryCallback) -> None:
        """Stop delivering to `callback`."""

    def on_connection(self, callback: ConnectionCallback) -> None:
        """Call `callback(True)` at each connection (at once if connected), `callback(False)` at its loss."""

    def set_last_will(self, topic: str, payload: bytes, qos: int = 1, retain: bool = True) -> None:
        """What the broker publishes if this side vanishes; to be set before `start`."""

    def start(self, timeout_s: float | None = None) -> None:
        """Connect and keep connected. Raises UnavailableError if that takes longer than `timeout_s`."""

    def close(self) -> None:
        """Part orderly: the last will is not published."""

    @property
    def connected(self) -> bool: ...
