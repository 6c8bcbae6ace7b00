"""Updates: packed, parsed, and refused with a reason."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from lepton_sdk.federated.spool import Spool, SpooledUpdate
from lepton_sdk.federated.update import difference, pack, read_parameters, unpack, write_parameters
from lepton_targets.errors import BadInputError, MessageError, UnavailableError

BASE = {"w": np.ones((4, 3), np.float32), "b": np.zeros(2, np.float32)}
CONTRACT = {name: array.shape for name, array in BASE.items()}


def packed(**tensors: np.ndarray) -> bytes:
    return zstandard.compress(save({**BASE, **tensors}))


def test_a_difference_comes_back_exactly() -> None:
    trained = {name: array + np.float32(0.1) for name, array in BASE.items()}
    found = unpack(pack(difference(trained, BASE)), CONTRACT)
    for name, array in BASE.items():
        np.testing.assert_array_equal(found[name], trained[name] - array)
    assert write_parameters(BASE) == write_parameters(dict(reversed(BASE.items()))), "one model, one hash"
    assert read_parameters(write_parameters(BASE)).keys() == BASE.keys()


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "zstd"),
        (b"not zstd", "zstd"),
        (zstandard.compress(b"not safetensors" * 10), "safetensors"),
        (zstandard.compress(bytes(1 << 24)), "at most"),
        (packed(w=np.full((4, 3), np.nan, np.float32)), "'w' holds NaN or infinity"),
        (packed(b=np.array([1, np.inf], np.float32)), "'b' holds NaN or infinity"),
        (packed(w=np.ones((3, 4), np.float32)), r"shape \(3, 4\)"),
        (packed(w=np.ones((4, 3), np.float64)), "float64"),
        (packed(extra=np.ones(1, np.float32)), "unknown"),
        (zstandard.compress(save({"w": BASE["w"]})), "missing"),
        (zstandard.compress(save({})), "no tensors"),
        (packed(w=np.full((4, 3), 1e6, np.float32)), "norm"),
    ],
)
def test_what_can_not_be_used_is_refused_with_a_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(MessageError, match=reason):
        unpack(payload, CONTRACT, max_norm=100.0)


@given(st.data())
def test_mutated_payloads_are_at_most_a_message_error(data: st.DataObject) -> None:
    payload = bytearray(pack(BASE) if data.draw(st.booleans()) else save(BASE))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(payload) - 1))
        payload[position] ^= data.draw(st.integers(1, 255))
    for attempt in (bytes(payload), zstandard.compress(bytes(payload))):
        try:
            found = unpack(attempt, CONTRACT, max_norm=100.0)
        except MessageError:
            continue
        assert {name: array.shape for name, array in found.items()} == CONTRACT
        assert math.isfinite(sum(float(np.abs(array).sum()) for array in found.values()))


def test_training_that_went_wrong_is_said() -> None:
    with pytest.raises(BadInputError, match="tensors"):
        difference({"w": BASE["w"]}, BASE)
    with pytest.raises(BadInputError, match="shape"):
        difference({**BASE, "b": np.zeros(3, np.float32)}, BASE)
    with pytest.raises(BadInputError, match="learning rate"):
        difference({**BASE, "b": np.array([np.nan, 0], np.float32)}, BASE)


def spooled(number: int) -> SpooledUpdate:
    return SpooledUpdate(
        "digits", number, bytes(32), bytes([number]) * 16, 5, 4, 0, {"loss": 0.1}, b"0123456789"
    )


def test_the_spool_keeps_updates_until_they_are_removed(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in (2, 1):
        spool.put(spooled(number))
    assert Spool(tmp_path).pending() == (spooled(1), spooled(2))
    assert [spooled(1).chunk(index) for index in range(spooled(1).n_chunks)] == [b"0123", b"4567", b"89"]
    spool.remove(spooled(1).update_id)
    spool.remove(spooled(1).update_id)
    assert spool.pending() == (spooled(2),)


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    Spool(tmp_path).put(spooled(1))
    (tmp_path / f".{bytes(16).hex()}.update.x7_k").write_bytes(b"half")
    spool = Spool(tmp_path)
    spool.claim()
    assert spool.pending() == (spooled(1),)
    assert not list(tmp_path.glob(".*.update.*"))


def test_one_spool_has_one_owner(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.claim()
    spool.claim()
    with pytest.raises(UnavailableError, match=str(tmp_path)):
        Spool(tmp_path).claim()
    spool.release()
    Spool(tmp_path).claim()


def test_a_damaged_spool_file_is_set_aside(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.put(spooled(1))
    spool.put(spooled(2))
    victim = next(tmp_path.glob("01*.update"))
    victim.write_bytes(victim.read_bytes()[:-3])
    assert spool.pending() == (spooled(2),)
    assert list(tmp_path.glob("*.damaged"))
