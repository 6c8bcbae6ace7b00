"""The power fails at each act on the disc in turn; the next start goes on and ends where it should."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lepton_sdk.agent.agent import DeviceAgent
from lepton_sdk.agent.record import AT_REST, Phase
from lepton_sdk.agent.slots import Slots
from lepton_sdk.bundle import Bundle
from support.devices import Workshop, wait_for

ACTS = ("save_record", "stage", "activate", "raise_floor", "agree_with")


class PowerFailureError(BaseException):
    """Ends the agent's thread at once, as no error does."""


class FailingPower:
    """Lets `lasting` acts on the disc happen and fails before (or just after) the next, for good."""

    def __init__(self, lasting: int, after: bool) -> None:
        self.left, self.after, self.failed = lasting, after, False

    def wrap(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any) -> Any:
            if self.failed:
                raise PowerFailureError
            self.left -= 1
            self.failed = self.left < 0
            if self.failed and not self.after:
                raise PowerFailureError
            result = act(*arguments)
            if self.failed:
                raise PowerFailureError
            return result

        return guarded


def run_until(agent: DeviceAgent, over: Callable[[], bool]) -> None:
    agent.start()
    wait_for(over)
    agent.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("well", [True, False], ids=["good", "unwell"])
@pytest.mark.parametrize("lasting", range(1, 16, 2))
def test_power_fails_at_every_arrow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lasting: int, well: bool, after: bool
) -> None:
    workshop = Workshop(tmp_path)
    probe = None if well else lambda session: session.bundle.manifest.name != "tiny2"
    workshop.wish(1, workshop.release(1, workshop.bundle(1)))
    first = workshop.agent(probe=probe)
    run_until(first, lambda: first.phase is Phase.CONFIRMED)

    workshop.wish(2, workshop.release(2, workshop.bundle(2)))
    power = FailingPower(lasting, after)
    with monkeypatch.context() as patched:
        for name in ACTS:
            patched.setattr(Slots, name, power.wrap(getattr(Slots, name)))
        second = workshop.agent(probe=probe)
        run_until(second, lambda: power.failed or (second.record.sequence == 2 and second.phase in AT_REST))

    slots = Slots(tmp_path / "slots")
    slot = slots.active()
    assert slot is not None
    assert Bundle.open(slots.bundle(slot)).verify_signature(workshop.trust)
    third = workshop.agent(probe=probe)

    def settled() -> bool:
        """At rest, and the act that the record promises is done: the floor lies on the disc."""
        return third.record.sequence == 2 and third.phase in AT_REST and slots.floor == third.record.floor

    run_until(third, settled)
    active = third.record.active
    assert active is not None
    assert (active.counter, third.record.floor, slots.floor) == ((2, 2, 2) if well else (1, 1, 1))
    assert slots.active() is active.slot
