"""The signed messages of the shadow: bytes from anyone become a typed wish or an error, nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton_sdk.agent.record import Answer, Order, ProbationPolicy, Reason, Record, Result, Withdrawal
from lepton_sdk.agent.shadow import (
    ReleaseStatement,
    desired_for,
    read_desired,
    read_reported,
    report_of,
    sign_statement,
    withdrawal_for,
)
from lepton_sdk.wire.identity import Identity
from lepton_targets.errors import MessageError, SignatureError

SERVER, PUBLISHER, DEVICE = Identity.generate(), Identity.generate(), Identity.generate()
STATEMENT = ReleaseStatement("plant", "digits", 3, "d" * 64, {"x86-64": "b" * 64}, {"x86-64": 100})
RELEASE = sign_statement(STATEMENT, PUBLISHER)
POLICY = ProbationPolicy(2.5, 10, 60.0)
DESIRED = desired_for(DEVICE.device_id, "plant", 9, RELEASE, POLICY, SERVER)


def read(payload: bytes) -> Order | Withdrawal:
    return read_desired(payload, DEVICE.device_id, "plant", SERVER.public, [PUBLISHER.public])


def test_what_was_wished_is_read() -> None:
    assert read(DESIRED) == Order(9, STATEMENT.release(), POLICY)
    assert read(withdrawal_for(DEVICE.device_id, "plant", 10, 3, SERVER)) == Withdrawal(10, 3)


@given(st.integers(0, len(DESIRED) - 1), st.integers(1, 255), st.booleans())
def test_an_altered_or_cut_document_is_an_error(place: int, change: int, cut: bool) -> None:
    altered = DESIRED[:place] + (b"" if cut else bytes([DESIRED[place] ^ change]) + DESIRED[place + 1 :])
    with pytest.raises((MessageError, SignatureError)):
        read(altered)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_error(payload: bytes) -> None:
    with pytest.raises((MessageError, SignatureError)):
        read(payload)


@pytest.mark.parametrize(
    "change",
    [
        {"counter": 0},
        {"digest": "short"},
        {"file_sha256": {}},
        {"file_bytes": {"x86-64": 0}},
        {"file_bytes": {"other": 100}},
    ],
)
def test_a_release_that_makes_no_sense_is_an_error_even_when_signed(change: dict[str, object]) -> None:
    with pytest.raises(MessageError, match="release:"):
        replace(STATEMENT, **change)


def test_a_report_says_what_the_record_says_and_is_the_devices_own() -> None:
    answer = Answer(9, 3, Result.REFUSED, Reason.SIGNATURE, "x" * 9999)
    payload = report_of(Record(sequence=9, answer=answer), "plant", ("x86-64",), DEVICE)
    report = read_reported(payload, DEVICE.device_id, "plant", DEVICE.public)
    assert (report.answer_sequence, report.result, report.reason) == (9, "refused", "signature")
    assert len(report.detail) == 500
    with pytest.raises(SignatureError):
        read_reported(payload, DEVICE.device_id, "plant", SERVER.public)
    with pytest.raises(MessageError, match="topic"):
        read_reported(payload, SERVER.device_id, "plant", DEVICE.public)
