"""What a few bytes may not ask of the machine that decodes them."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton_sdk.wire.cbor_form import MAX_DEPTH, require_plain
from lepton_sdk.wire.codec import decode
from lepton_sdk.wire.update import Receipt
from lepton_targets.errors import MessageError

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats()
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), plain))
def test_everything_a_message_may_hold_passes(value: dict[str, object]) -> None:
    if depth_of(value) <= MAX_DEPTH:
        require_plain(cbor2.dumps(value, canonical=True))


def depth_of(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


@given(st.binary(max_size=200))
def test_what_passes_is_as_long_as_the_decoder_finds_it(content: bytes) -> None:
    try:
        require_plain(content)
        stream = io.BytesIO(content)
        cbor2.load(stream)
    except (ValueError, TypeError, cbor2.CBORDecodeError):
        return  # refused by either: nothing was built of more than these bytes
    assert stream.tell() == len(content)


@given(st.dictionaries(st.text(), plain, min_size=1), st.data())
def test_a_part_is_never_taken_for_the_whole(value: dict[str, object], data: st.DataObject) -> None:
    content = cbor2.dumps(value, canonical=True)
    with pytest.raises(ValueError, match=r"ends|found|left"):
        require_plain(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(ValueError, match=r"ends|found|left"):
        require_plain(content + b"\0")


def doubling_references() -> bytes:
    """Thirty lists, each of two references to the one before: 2^30 elements when written out."""
    number: Callable[[int], bytes] = lambda i: bytes([i]) if i < 24 else bytes([0x18, i])  # noqa: E731
    lists = b"".join(b"\xd8\x1c\x82" + (b"\xd8\x1d" + number(i)) * 2 for i in range(30))
    return b"\xa1\x61a\x98\x1f" + b"\xd8\x1c\x81\x00" + lists


def repeated_strings() -> bytes:
    """One text of 100 kB and 60,000 references to it: 6 GB when written out."""
    text = b"\x5a" + (100_000).to_bytes(4, "big") + b"A" * 100_000
    return b"\xa1\x61a\xd9\x01\x00\x99" + (60_001).to_bytes(2, "big") + text + b"\xd8\x19\x00" * 60_000


@pytest.mark.parametrize(
    "bomb",
    [
        doubling_references(),
        repeated_strings(),
        b"\xa1\x61a\xc2\x5a" + (300_000).to_bytes(4, "big") + b"\xff" * 300_000,
        b"\xa1\x61a" + b"\x81" * 500_000 + b"\0",
        b"\xa1\x61a\x9b\0\0\0\xff\xff\xff\xff\xff",
        b"\xa1\x61a\x5b\0\0\0\xff\xff\xff\xff\xff",
        b"\xbf\xff",
    ],
    ids=("references", "strings", "bignum", "depth", "array", "bytes", "indefinite"),
)
def test_a_bomb_costs_no_more_than_its_bytes(bomb: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(MessageError, match="receipt"):
            decode(Receipt, bomb)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
