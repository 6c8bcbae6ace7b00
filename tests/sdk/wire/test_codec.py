"""Messages on the wire: one value, one encoding; anything else is a MessageError."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton_sdk.wire.blocks import Block, Want
from lepton_sdk.wire.codec import decode, encode, signed_bytes
from lepton_sdk.wire.round import Report, RoundAnnouncement, Task
from lepton_sdk.wire.update import Chunk, Need, Offer, Receipt
from lepton_targets.errors import MessageError

DEVICE = "0123456789abcdef"
SHA = bytes(range(32))
UPDATE = bytes(16)
MESSAGES = (
    RoundAnnouncement("acme", "digits", 3, "open", SHA, 60.0, "fedavg", 17, b"s" * 64),
    Report("acme", DEVICE, b"boot", "digits", 3, "eligible", {"loss": 0.5, "n": 3}),
    Task("acme", "digits", 3, DEVICE, SHA, 1000, {"epochs": 2, "name": "x", "rate": 0.1}, 4096, 0, 60.0),
    Offer(
        "acme", "digits", 3, SHA, DEVICE, b"boot", UPDATE, 0, 10, "safetensors+zstd", 100, 64, (SHA, SHA), {}
    ),
    Chunk(UPDATE, 1, b"content"),
    Need("acme", DEVICE, UPDATE, (0, 1), 100),
    Receipt("acme", DEVICE, UPDATE, "accepted", ""),
    Want("acme", DEVICE, SHA, (0, 65536)),
    Block("acme", SHA, 100, 10, b"bytes"),
)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.kind)
def test_a_message_comes_back_as_it_went(message: Offer) -> None:
    assert decode(type(message), encode(message)) == message
    assert encode(decode(type(message), encode(message))) == encode(message)


@given(st.sampled_from(MESSAGES), st.data())
def test_mutated_bytes_are_another_valid_message_or_a_message_error(
    message: Offer, data: st.DataObject
) -> None:
    payload = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(payload) - 1))
        match data.draw(st.sampled_from(("flip", "cut", "insert"))):
            case "flip":
                payload[position] ^= data.draw(st.integers(1, 255))
            case "cut":
                del payload[position:]
            case _:
                payload.insert(position, data.draw(st.integers(0, 255)))
        if not payload:
            break
    try:
        parsed = decode(type(message), payload)
    except MessageError:
        return
    assert encode(parsed) == bytes(payload), "what is accepted has one encoding"


@given(st.binary(max_size=200), st.sampled_from(MESSAGES))
def test_any_bytes_are_at_most_a_message_error(payload: bytes, message: Offer) -> None:
    with pytest.raises(MessageError):
        decode(type(message), payload)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    ),
    st.sampled_from(("round", "chunk_bytes", "settings", "device", "base_model_sha256", "extra")),
)
def test_a_field_of_another_type_is_a_message_error(value: object, name: str) -> None:
    task = MESSAGES[2]
    fields = {**cbor2.loads(encode(task)), name: value}
    try:
        parsed = decode(Task, cbor2.dumps(fields, canonical=True))
    except MessageError:
        return
    assert name != "extra"
    assert encode(parsed) == cbor2.dumps(fields, canonical=True)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "not a CBOR map"),
        (b"\xbf\xff", "indefinite"),
        (cbor2.dumps({"v": 2, "kind": "chunk"}, canonical=True), "version"),
        (cbor2.dumps({"v": 1, "kind": "offer"}, canonical=True), "kind"),
        (cbor2.dumps({"v": 1, "kind": "chunk", "index": 1}, canonical=True), "missing"),
        (encode(MESSAGES[4]) + b"\x00", "deterministic|malformed"),
        (b"\xa1" + b"\x81" * 3000, "malformed"),
        (b"\xa1\x61v\xc4\x82\x1b\x00\xff\xff\xff\xff\xff\xff\xff\x01", "malformed|deterministic|version"),
        (b"\xa2" + b"\x00" * (2 << 20), "at most"),
    ],
)
def test_what_is_refused_is_said(payload: bytes, reason: str) -> None:
    with pytest.raises(MessageError, match=reason):
        decode(Chunk, payload)


def test_no_signature_fits_two_kinds_of_message() -> None:
    covered = [signed_bytes(message) for message in MESSAGES]
    assert len(set(covered)) == len(MESSAGES)
    assert b"s" * 64 not in covered[0], "the signature doesn't cover itself"


def test_numbers_must_be_finite() -> None:
    broken = cbor2.loads(encode(MESSAGES[0])) | {"deadline_s": float("nan")}
    with pytest.raises(MessageError, match="finite"):
        decode(RoundAnnouncement, cbor2.dumps(broken, canonical=True))
