"""The transport over a real broker: acknowledged by hand, mended by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from lepton_fleet.broker import EmbeddedBroker
from lepton_sdk.wire.mqtt import MqttTransport
from lepton_sdk.wire.transport import Delivery
from lepton_targets.errors import UnavailableError


@pytest.fixture(params=["mosquitto", "amqtt"])
def broker(request: pytest.FixtureRequest) -> Iterator[EmbeddedBroker]:
    try:
        running = EmbeddedBroker(request.param).__enter__()
    except UnavailableError as error:
        pytest.skip(error.message)
    yield running
    running.__exit__(None, None, None)


def eventually(condition: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_messages_arrive_again_after_the_broker_was_killed(broker: EmbeddedBroker) -> None:
    seen: list[bytes] = []
    states: list[bool] = []

    def take(delivery: Delivery) -> None:
        seen.append(delivery.payload)
        delivery.acknowledge()

    transport = MqttTransport(broker.host, broker.port)
    transport.on_connection(states.append)
    transport.subscribe("a/+", take)
    transport.start(5.0)
    transport.publish("a/b", b"before")
    assert eventually(lambda: seen == [b"before"])
    broker.kill()
    assert eventually(lambda: not transport.connected)
    transport.publish("a/b", b"into the void")
    broker.start()
    assert eventually(lambda: transport.connected)
    transport.publish("a/b", b"after")
    assert eventually(lambda: b"after" in seen)
    assert seen == [b"before", b"after"]
    assert states == [True, False, True]
    transport.close()


def test_what_is_not_acknowledged_fills_the_window() -> None:
    held: list[Delivery] = []
    with EmbeddedBroker("mosquitto") as broker:
        receiver, sender = (MqttTransport(broker.host, broker.port) for _ in range(2))
        receiver.subscribe("a", held.append)
        receiver.start(5.0)
        sender.start(5.0)
        for number in range(80):
            sender.publish("a", str(number).encode())
        assert eventually(lambda: len(held) >= 64)
        time.sleep(0.2)
        assert len(held) == 64, "the broker waits"
        for delivery in list(held):
            delivery.acknowledge()
            delivery.acknowledge()
        assert eventually(lambda: len(held) == 80)
        assert [delivery.payload for delivery in held] == [str(number).encode() for number in range(80)]
        receiver.close()
        sender.close()


def test_the_last_will_speaks_for_who_vanished(broker: EmbeddedBroker) -> None:
    told: list[tuple[bytes, bool]] = []
    watcher = MqttTransport(broker.host, broker.port)
    watcher.subscribe("status", lambda d: (told.append((d.payload, d.retained)), d.acknowledge())[0])
    watcher.start(5.0)
    device = MqttTransport(broker.host, broker.port, "device")
    device.set_last_will("status", b"gone")
    device.start(5.0)
    twin = MqttTransport(broker.host, broker.port, "device")
    if broker.kind == "amqtt":
        pytest.skip("amqtt keeps two clients of one name")
    twin.start(5.0)
    assert eventually(lambda: (b"gone", False) in told)
    for transport in (twin, device, watcher):
        transport.close()


def test_all_that_was_published_before_the_end_arrives(broker: EmbeddedBroker) -> None:
    seen: list[bytes] = []

    def take(delivery: Delivery) -> None:
        seen.append(delivery.payload)
        delivery.acknowledge()

    watcher, sender = MqttTransport(broker.host, broker.port), MqttTransport(broker.host, broker.port)
    watcher.subscribe("a/+", take)
    watcher.start(5.0)
    sender.start(5.0)
    for number in range(500):
        sender.publish("a/b", str(number).encode())
    sender.close()
    assert eventually(lambda: len(seen) >= 500)
    assert seen == [str(number).encode() for number in range(500)]
    watcher.close()


def test_no_broker_is_an_error_that_says_where(broker: EmbeddedBroker) -> None:
    broker.kill()
    transport = MqttTransport(broker.host, broker.port)
    with pytest.raises(
        UnavailableError, match=rf"no MQTT broker at 127\.0\.0\.1:{broker.port} within 0\.3 s"
    ):
        transport.start(0.3)


def test_a_faulty_listener_does_not_stop_the_others() -> None:
    arrived = threading.Event()

    def fail(delivery: Delivery) -> None:
        raise ZeroDivisionError

    with EmbeddedBroker() as broker:
        transport = MqttTransport(broker.host, broker.port)
        transport.subscribe("a", fail)
        transport.subscribe("a", lambda delivery: arrived.set())
        transport.start(5.0)
        transport.publish("a", b"x")
        assert arrived.wait(5)
        assert transport.connected
        transport.close()
