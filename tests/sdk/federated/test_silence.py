"""Silence is told of once, until there is an answer."""

from __future__ import annotations

from lepton_sdk.federated.silence import Silence


def test_silence_is_told_once_a_silence() -> None:
    now = 100.0
    silence = Silence(30.0, lambda: now)
    assert silence.overdue() is None, "nothing was asked"
    silence.asked()
    now = 120.0
    silence.asked()
    assert silence.overdue() is None
    now = 130.0
    assert silence.overdue() == 30.0
    assert silence.overdue() is None
    silence.answered()
    now = 500.0
    assert silence.overdue() is None
    silence.asked()
    now = 531.0
    assert silence.overdue() == 31.0
