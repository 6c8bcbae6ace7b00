"""Carries a roll-out over the wire: wishes out, signed reports in, the state on disc before each action."""

from __future__ import annotations

import logging
import queue
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from lepton_fleet import rollout as rollouts
from lepton_fleet.blocks import BlockServer
from lepton_fleet.home import FleetHome
from lepton_fleet.rollout import ENDS, Answered, Ask, Began, Event, Rollout, StartTimer, TimeRanOut, Withdraw
from lepton_sdk.agent.record import Result
from lepton_sdk.agent.shadow import desired_for, read_reported, withdrawal_for
from lepton_sdk.wire.identity import AllowList
from lepton_sdk.wire.topics import ANY_DEVICE, Topics, device_of
from lepton_sdk.wire.transport import Delivery, Transport
from lepton_targets.errors import LeptonError, SignatureError

logger = logging.getLogger(__name__)

ASK_AGAIN_S = 5.0
EventCallback = Callable[[str, Mapping[str, Any]], None]


class RolloutDriver:
    """One roll-out, from its state to its end. `counts`: reports followed, and dropped by kind of error."""

    def __init__(
        self,
        home: FleetHome,
        transport: Transport,
        rollout: Rollout,
        statement: bytes,
        allow: AllowList,
        *,
        on_event: EventCallback | None = None,
        ask_again_s: float = ASK_AGAIN_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """statement: the release as published. ask_again_s: how often silent devices are asked again, for a
        broker may forget. on_event: called with "asked", "answered", "withdrawn", "wave", "ended"."""
        self._home, self._transport, self._statement, self._allow = home, transport, statement, allow
        self._server, self._topics = home.server(), Topics(home.settings.tenant)
        self._blocks = BlockServer(transport, self._server, home.blobs, home.settings.tenant, allow)
        self._on_event = on_event or (lambda name, fields: None)
        self._ask_again_s, self._clock = ask_again_s, clock
        self._inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._timer: tuple[int, float] | None = None
        self._ask_again_at = clock() + ask_again_s
        self.rollout = rollout
        self.counts: Counter[str] = Counter()

    def run(self, connect_timeout_s: float | None = 30.0) -> Rollout:
        """Carry the roll-out to its end and return it. Raises UnavailableError without a broker."""
        self._blocks.start()
        self._transport.subscribe(self._topics.reported(ANY_DEVICE), self._on_reported)
        self._transport.start(connect_timeout_s)
        self._home.save_rollout(self.rollout)
        self._feed(Began())
        while self.rollout.stage not in ENDS:
            self._next()
        plan = self.rollout.plan
        self._on_event("ended", {"outcome": self.rollout.stage.value, "devices": len(plan.devices)})
        return self.rollout

    def _next(self) -> None:
        """One report, or the timer, or the moment to ask again."""
        assert self._timer is not None
        number, at = self._timer
        now = self._clock()
        # Before any report, or devices that report without pause would hold a wave past its time.
        if now >= at:
            self._feed(TimeRanOut(number))
            return
        if now >= self._ask_again_at:
            self._ask_again_at = now + self._ask_again_s
            self._ask_again()
        try:
            event = self._inbox.get(timeout=max(min(at, self._ask_again_at) - self._clock(), 0.001))
        except queue.Empty:
            return
        self._feed(event)

    def _feed(self, event: Event) -> None:
        before = self.rollout
        after, actions = rollouts.step(before, event)
        if after is not before:
            self._home.save_rollout(after)
            self.rollout = after
            if after.wave != before.wave:
                devices = len(after.plan.waves[after.wave])
                self._on_event("wave", {"wave": after.wave + 1, "devices": devices})
            if isinstance(event, Answered):
                fate = after.fate(event.device).value
                fields = {
                    "device": event.device,
                    "fate": fate,
                    "reason": event.reason,
                    "detail": event.detail,
                }
                self._on_event("answered", fields)
        for action in actions:
            self._act(action)

    def _act(self, action: rollouts.Action) -> None:
        match action:
            case Ask(device):
                self._ask(device)
                self._on_event("asked", {"device": device})
            case Withdraw(device):
                self._withdraw(device)
                self._on_event("withdrawn", {"device": device})
            case StartTimer(number):
                self._timer = (number, self._clock() + self.rollout.plan.policy.wave_timeout_s)

    def _ask_again(self) -> None:
        """Wishes are numbered, so a device that has followed one only reports again."""
        if self.rollout.stage is rollouts.Stage.WITHDRAWING:
            for device in self.rollout.waiting:
                self._withdraw(device)
        else:
            for device in self.rollout.pending:
                self._ask(device)

    def _ask(self, device: str) -> None:
        plan = self.rollout.plan
        tenant, probation = self._topics.tenant, plan.policy.probation
        wish = desired_for(device, tenant, plan.sequence, self._statement, probation, self._server)
        self._transport.publish(self._topics.desired(device), wish, retain=True)

    def _withdraw(self, device: str) -> None:
        plan = self.rollout.plan
        tenant, sequence = self._topics.tenant, plan.withdrawal_sequence
        wish = withdrawal_for(device, tenant, sequence, plan.counter, self._server)
        self._transport.publish(self._topics.desired(device), wish, retain=True)

    def _on_reported(self, delivery: Delivery) -> None:
        """On the transport's thread: check who says it, then queue it. Retained, so acknowledged at once."""
        delivery.acknowledge()
        try:
            device = device_of(delivery.topic)
            key = self._allow.get(device)
            if key is None:
                raise SignatureError(f"device {device} is not on the allow-list")
            report = read_reported(delivery.payload, device, self._topics.tenant, key)
        except LeptonError as error:
            self.counts[f"dropped: {type(error).__name__}"] += 1
            logger.warning("a report was dropped: %s", error.message)
            return
        self.counts["reports"] += 1
        if report.result and report.answer_counter == self.rollout.plan.counter:
            result = Result(report.result)
            self._inbox.put(Answered(device, report.answer_sequence, result, report.reason, report.detail))
