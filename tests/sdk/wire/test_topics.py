"""Topics: what belongs to whom, and which filters match."""

from __future__ import annotations

import pytest

from lepton_sdk.wire.topics import ANY_DEVICE, Topics, device_of, matches
from lepton_targets.errors import MessageError, UsageError

DEVICE = "0123456789abcdef"


def test_topics_name_their_device() -> None:
    topics = Topics("acme")
    assert topics.offer(DEVICE) == f"fl/v1/acme/dev/{DEVICE}/up/offer"
    assert device_of(topics.receipt(DEVICE)) == DEVICE
    assert topics.round("digits") == "fl/v1/acme/round/digits"
    assert matches(topics.offer(ANY_DEVICE), topics.offer(DEVICE))
    assert not matches(topics.offer(ANY_DEVICE), topics.chunk(DEVICE))


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "Acme", "a" * 65, "ä"])
def test_names_that_would_break_a_topic_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="accepted"):
        Topics(name)
    with pytest.raises(UsageError, match="accepted"):
        Topics("acme").round(name)


def test_only_a_device_id_or_the_wildcard_stands_for_a_device() -> None:
    with pytest.raises(UsageError, match="16 hexadecimal"):
        Topics("acme").offer("0123")


@pytest.mark.parametrize("topic", ["", "fl/v1/acme/round/x", "fl/v1/acme/dev/XYZ/up/offer", "a/b/c/dev/e/f"])
def test_a_topic_without_a_device_is_a_message_error(topic: str) -> None:
    with pytest.raises(MessageError):
        device_of(topic)


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("a/+/c", "a/b/c", True),
        ("a/#", "a/b/c", True),
        ("#", "a", True),
        ("a/+", "a/b/c", False),
        ("a/b", "a", False),
        ("a", "a/b", False),
    ],
)
def test_filters_match_as_mqtt_says(topic_filter: str, topic: str, expected: bool) -> None:
    assert matches(topic_filter, topic) is expected
