"""A broker inside one process, for tests and simulations: same promises as a real one, and faults on demand.

Messages are delivered in order on the publisher's thread, never nested: what a callback publishes comes
after what is already under way.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lepton_sdk.wire.dispatch import Subscriptions
from lepton_sdk.wire.topics import matches
from lepton_sdk.wire.transport import ConnectionCallback, DeliveryCallback
from lepton_targets.errors import UnavailableError


@dataclass(frozen=True, slots=True)
class LoopbackMessage:
    """One publication on its way through the broker."""

    topic: str
    payload: bytes
    retain: bool = False


Fault = Callable[[LoopbackMessage], Iterable[LoopbackMessage]]


class LoopbackBroker:
    """Carries messages between its transports. `fault` maps each message to what is carried instead:
    () loses it, (m, m) doubles it, another payload alters it. `up = False` is a broker that is down."""

    def __init__(self, fault: Fault | None = None) -> None:
        self.fault = fault
        self.log: list[LoopbackMessage] = []
        self._lock = threading.RLock()
        self._clients: list[LoopbackTransport] = []
        self._retained: dict[str, LoopbackMessage] = {}
        self._queue: deque[Callable[[], None]] = deque()
        self._pumping = False
        self._up = True

    def transport(self) -> LoopbackTransport:
        """A new client's transport, connected by its `start`."""
        return LoopbackTransport(self)

    def stop(self) -> None:
        """Go away as a killed broker does: connections end, retained messages are forgotten."""
        with self._lock:
            self._up = False
            self._retained.clear()
            self._queue.clear()
            clients = tuple(self._clients)
        for client in clients:
            client.drop(with_will=False)

    def restart(self) -> None:
        """Come back empty; every client that was not closed reconnects."""
        with self._lock:
            self._up = True
            clients = tuple(self._clients)
        for client in clients:
            client.reconnect()

    @property
    def up(self) -> bool:
        return self._up

    def carry(self, message: LoopbackMessage) -> None:
        """Take one publication and deliver it, after those before it."""
        with self._lock:
            if not self._up:
                return
            for carried in (message,) if self.fault is None else tuple(self.fault(message)):
                self.log.append(carried)
                if carried.retain:
                    self._keep(carried)
                for client in self._clients:
                    self._queue.append(lambda c=client, m=carried: c.receive(m, retained=False))  # type: ignore[misc]
            self._pump()

    def attach(self, client: LoopbackTransport) -> None:
        with self._lock:
            if client not in self._clients:
                self._clients.append(client)

    def detach(self, client: LoopbackTransport) -> None:
        with self._lock:
            if client in self._clients:
                self._clients.remove(client)

    def send_retained(self, client: LoopbackTransport, topic_filter: str, callback: DeliveryCallback) -> None:
        """What a new subscription receives at once."""
        with self._lock:
            for message in tuple(self._retained.values()):
                if matches(topic_filter, message.topic):
                    self._queue.append(lambda m=message: client.receive(m, retained=True, only=callback))  # type: ignore[misc]
            self._pump()

    def _keep(self, message: LoopbackMessage) -> None:
        if message.payload:
            self._retained[message.topic] = message
        else:
            self._retained.pop(message.topic, None)

    def _pump(self) -> None:
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._queue:
                self._queue.popleft()()
        finally:
            self._pumping = False


class LoopbackTransport:
    """One client of a LoopbackBroker; `unacknowledged` counts deliveries that await acknowledgement."""

    def __init__(self, broker: LoopbackBroker) -> None:
        self._broker = broker
        self._subscriptions = Subscriptions()
        self._callbacks: list[tuple[str, DeliveryCallback]] = []
        self._listeners: list[ConnectionCallback] = []
        self._will: LoopbackMessage | None = None
        self._connected = False
        self.unacknowledged = 0

    @property
    def connected(self) -> bool:
        return self._connected

    def start(self, timeout_s: float | None = None) -> None:
        self._broker.attach(self)
        if not self._broker.up:
            if timeout_s is not None:
                self._broker.detach(self)
                raise UnavailableError(f"no loopback broker within {timeout_s:g} s")
            return
        self.reconnect()

    def close(self) -> None:
        self._will = None
        self.drop()
        self._broker.detach(self)

    def drop(self, with_will: bool = True) -> None:
        """Lose the connection as a network does; the last will goes out."""
        if not self._connected:
            return
        self._connected = False
        if with_will and self._will is not None:
            self._broker.carry(self._will)
        for listener in tuple(self._listeners):
            listener(False)

    def reconnect(self) -> None:
        """Connect again after `drop`."""
        if self._connected or not self._broker.up:
            return
        self._connected = True
        for topic_filter, callback in tuple(self._callbacks):
            self._broker.send_retained(self, topic_filter, callback)
        for listener in tuple(self._listeners):
            listener(True)

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        if self._connected:
            self._broker.carry(LoopbackMessage(topic, bytes(payload), retain))

    def subscribe(self, topic_filter: str, callback: DeliveryCallback, qos: int = 1) -> None:
        self._subscriptions.add(topic_filter, callback, qos)
        self._callbacks.append((topic_filter, callback))
        if self._connected:
            self._broker.send_retained(self, topic_filter, callback)

    def unsubscribe(self, topic_filter: str, callback: DeliveryCallback) -> None:
        self._subscriptions.remove(topic_filter, callback)
        self._callbacks = [entry for entry in self._callbacks if entry != (topic_filter, callback)]

    def on_connection(self, callback: ConnectionCallback) -> None:
        self._listeners.append(callback)
        if self._connected:
            callback(True)

    def set_last_will(self, topic: str, payload: bytes, qos: int = 1, retain: bool = True) -> None:
        self._will = LoopbackMessage(topic, payload, retain)

    def receive(
        self, message: LoopbackMessage, *, retained: bool, only: DeliveryCallback | None = None
    ) -> None:
        """Called by the broker: hand a message to the listeners."""
        if not self._connected:
            return
        self.unacknowledged += 1
        subscriptions = self._subscriptions
        if only is not None:
            subscriptions = Subscriptions()
            subscriptions.add("#", only, 1)
        subscriptions.deliver(message.topic, message.payload, retained, self._acknowledged)

    def _acknowledged(self) -> None:
        self.unacknowledged -= 1
