"""The transport over an MQTT 3.1.1 broker, on paho-mqtt with acknowledgement by hand.

The session is always clean: what a broker keeps for an absent client is not relied on, so nothing is left
behind in it. Reconnection backs off from 1 s to 30 s.
"""

from __future__ import annotations

import logging
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from lepton_sdk.wire.dispatch import Subscriptions
from lepton_sdk.wire.transport import ConnectionCallback, DeliveryCallback
from lepton_targets.errors import UnavailableError

logger = logging.getLogger(__name__)

FLUSH_S = 5.0


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files for TLS: the broker's authority and, for mutual TLS, this side's certificate and key."""

    authority: Path
    certificate: Path | None = None
    key: Path | None = None


class MqttTransport:
    """A connection to a broker that mends itself; see `Transport` for what its methods promise."""

    def __init__(
        self,
        host: str,
        port: int = 1883,
        client_id: str = "",
        *,
        keepalive_s: int = 15,
        tls: Tls | None = None,
        username: str | None = None,
        password: str | None = None,
    ) -> None:
        """client_id: unique at the broker, which ends an older connection of the same name; "" lets the
        broker choose. keepalive_s: a silent peer is given up after 1.5 times this."""
        self.host, self.port = host, port
        self._keepalive_s = keepalive_s
        self._subscriptions = Subscriptions()
        self._listeners: list[ConnectionCallback] = []
        self._lock = threading.RLock()
        self._up = threading.Event()
        self._refused: str | None = None
        self._started = False
        self._connection = 0
        self._published: paho.MQTTMessageInfo | None = None
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=True,
            protocol=paho.MQTTv311,
            manual_ack=True,
        )
        self._client.reconnect_delay_set(min_delay=1, max_delay=30)
        self._client.max_inflight_messages_set(64)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.on_socket_open = self._on_socket_open
        if username is not None:
            self._client.username_pw_set(username, password)
        if tls is not None:
            self._client.tls_set(
                ca_certs=str(tls.authority),
                certfile=str(tls.certificate) if tls.certificate else None,
                keyfile=str(tls.key) if tls.key else None,
            )

    @property
    def connected(self) -> bool:
        return self._up.is_set()

    def start(self, timeout_s: float | None = None) -> None:
        """Connect and keep connected. Raises UnavailableError when `timeout_s` passes without a connection;
        None returns at once and connects in the background."""
        if not self._started:
            self._started = True
            self._client.connect_async(self.host, self.port, keepalive=self._keepalive_s)
            self._client.loop_start()
        if timeout_s is not None and not self._up.wait(timeout_s):
            self.close()
            raise UnavailableError(
                f"no MQTT broker at {self.host}:{self.port} within {timeout_s:g} s"
                + (f" ({self._refused})" if self._refused else ""),
                "start one (`mosquitto -p PORT`), or name another as `broker.host` and `broker.port`",
            )

    def close(self) -> None:
        """Part orderly: what was published is sent (waiting FLUSH_S at most), the last will is not."""
        self._flush()
        self._client.disconnect()
        self._client.loop_stop()
        self._started = False
        self._up.clear()

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        if self.connected:
            self._published = self._client.publish(topic, payload, qos=qos, retain=retain)

    def subscribe(self, topic_filter: str, callback: DeliveryCallback, qos: int = 1) -> None:
        # Under the lock: a connection made just now either finds it among the filters or is seen here.
        with self._lock:
            self._subscriptions.add(topic_filter, callback, qos)
            if self.connected:
                self._client.subscribe(topic_filter, qos)

    def unsubscribe(self, topic_filter: str, callback: DeliveryCallback) -> None:
        if self._subscriptions.remove(topic_filter, callback) and self.connected:
            self._client.unsubscribe(topic_filter)

    def on_connection(self, callback: ConnectionCallback) -> None:
        with self._lock:
            self._listeners.append(callback)
        if self.connected:
            callback(True)

    def set_last_will(self, topic: str, payload: bytes, qos: int = 1, retain: bool = True) -> None:
        self._client.will_set(topic, payload, qos=qos, retain=retain)

    def _flush(self) -> None:
        """Wait for the last publication: beyond 64, one is sent only as others are confirmed."""
        if self._published is None or not self.connected:
            return
        try:
            self._published.wait_for_publish(FLUSH_S)
        except (RuntimeError, ValueError) as error:
            logger.warning("the last message to %s:%d was not sent: %s", self.host, self.port, error)

    @staticmethod
    def _on_socket_open(_: paho.Client, __: Any, connection: Any) -> None:
        # A need and its chunks go back and forth: Nagle's algorithm would add 40 ms to each turn.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _on_connect(self, client: paho.Client, _: Any, __: Any, reason: Any, ___: Any) -> None:
        if reason.is_failure:
            self._refused = str(reason)
            logger.warning("broker %s:%d refused the connection: %s", self.host, self.port, reason)
            return
        with self._lock:
            self._connection += 1
            listeners = tuple(self._listeners)
            filters = self._subscriptions.filters()
            if filters:
                client.subscribe(list(filters.items()))
            self._up.set()
        logger.info("connected to %s:%d", self.host, self.port)
        self._tell(listeners, True)

    def _on_disconnect(self, _: paho.Client, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        if not self._up.is_set():
            return
        self._up.clear()
        with self._lock:
            self._connection += 1
            listeners = tuple(self._listeners)
        logger.info("connection to %s:%d ended: %s", self.host, self.port, reason)
        self._tell(listeners, False)

    @staticmethod
    def _tell(listeners: tuple[ConnectionCallback, ...], connected: bool) -> None:
        for listener in listeners:
            try:
                listener(connected)
            except Exception:
                logger.exception("a connection listener failed")

    def _on_message(self, client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        connection, mid, qos = self._connection, message.mid, message.qos

        def acknowledge() -> None:
            # A packet number means another message after a reconnection.
            with self._lock:
                if qos and connection == self._connection:
                    client.ack(mid, qos)

        try:
            topic = message.topic
        except UnicodeDecodeError:
            logger.warning("a message on a topic that is no UTF-8 was dropped")
            acknowledge()
            return
        self._subscriptions.deliver(topic, bytes(message.payload), message.retain, acknowledge)
