"""The round's state together with its store and outbox: what one transaction changes, and what follows it.

Inside `transaction` the machine steps, receipts and counts are stored, and letters, actions and happenings
are only put in the outbox; `take_outbox` is for afterwards, when all of it is durable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lepton_fleet import round as rounds
from lepton_fleet.round import Round
from lepton_fleet.store import Store
from lepton_sdk.wire.identity import Signed
from lepton_sdk.wire.topics import Topics
from lepton_sdk.wire.update import Receipt


@dataclass(frozen=True, slots=True)
class Letter:
    """A message to be signed and published."""

    topic: str
    message: Signed


@dataclass(frozen=True, slots=True)
class Happening:
    """Something worth telling whoever watches."""

    name: str
    fields: Mapping[str, Any]


MAX_REASON = 500

Entry = Letter | Happening | rounds.Action


class Desk:
    """Where a round is worked on. `round` is as durable as the last transaction made it."""

    def __init__(self, store: Store, topics: Topics, job: str) -> None:
        self.store, self.topics, self._job = store, topics, job
        self.round: Round
        self._outbox: list[Entry] = []
        self._dropped: Counter[str] = Counter()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that happens inside becomes durable together, the round's state included; or none of it, and
        then nobody is told of it."""
        before = self.round
        try:
            with self.store.transaction():
                yield
                if self.round is not before:
                    self.store.save_round(self.round)
                if self._dropped:
                    self.store.add_dropped(self._dropped)
        except BaseException:
            self.round = before
            self._outbox.clear()
            raise
        self._dropped.clear()

    def step(self, event: rounds.Event) -> tuple[rounds.Action, ...]:
        """The machine's step: receipts are stored, actions wait in the outbox."""
        self.round, actions = rounds.step(self.round, event)
        for action in actions:
            if isinstance(action, rounds.SendReceipt):
                self.tell(action.device, action.update_id, action.status, action.reason)
            else:
                self._outbox.append(action)
        return actions

    def tell(
        self, device: str, update_id: bytes, status: str, reason: str, number: int | None = None
    ) -> None:
        """Store what becomes of an update of round `number` (None: this one) and let the receipt follow.

        A reason may quote names out of the update, so it is cut to MAX_REASON characters.
        """
        receipt = Receipt(self.topics.tenant, device, update_id, status, reason[:MAX_REASON])
        self.store.put_receipt(receipt, self._job, self.round.number if number is None else number)
        self.post(self.topics.receipt(device), receipt)

    def post(self, topic: str, message: Signed) -> None:
        """Let a message follow."""
        self._outbox.append(Letter(topic, message))

    def note(self, name: str, **fields: Any) -> None:
        """Let whoever watches know, afterwards."""
        self._outbox.append(Happening(name, fields))

    def drop(self, reason: str) -> None:
        """Count a message that changes nothing."""
        self._dropped[reason] += 1

    def take_outbox(self) -> list[Entry]:
        """Everything that waits, in order; the outbox is empty then."""
        entries, self._outbox = self._outbox, []
        return entries
