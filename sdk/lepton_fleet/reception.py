"""Takes what devices send: reports, offers, chunks; asks for what is missing; counts an update or refuses it.

Everything here happens inside a transaction of the desk. What is missing is read from the store each time,
so that a chunk counts as here only when it is durable.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from lepton_fleet import round as rounds
from lepton_fleet.desk import Desk
from lepton_fleet.grants import Grants
from lepton_fleet.intake import UNKNOWN_DEVICE, Dropped, parse
from lepton_fleet.job import Job
from lepton_sdk.federated.update import unpack
from lepton_sdk.wire.identity import AllowList
from lepton_sdk.wire.round import Report
from lepton_sdk.wire.topics import device_of
from lepton_sdk.wire.transport import Delivery
from lepton_sdk.wire.update import REJECTED, STALE, Chunk, Need, Offer, Receipt
from lepton_targets.errors import MessageError

logger = logging.getLogger(__name__)

MAX_UNKNOWN = 1000


class Reception:
    """Deals with deliveries. `contract` holds the base model's names and shapes."""

    def __init__(self, job: Job, desk: Desk, allow: AllowList, clock: Callable[[], float]) -> None:
        self._job, self._desk, self._store, self._allow = job, desk, desk.store, allow
        self._clock = clock
        self._grants = Grants(job.limits.in_flight_bytes, job.limits.grant_bytes)
        self._offers: dict[bytes, Offer] = {}
        self._touched: dict[bytes, Offer] = {}
        self._unknown: set[str] = set()
        self.contract: Mapping[str, tuple[int, ...]] = {}

    def take(self, delivery: Delivery) -> None:
        """Deal with one delivery; one that can't be used is counted by reason and changes nothing."""
        try:
            device, message = parse(delivery, self._job.tenant, self._allow)
            match message:
                case Chunk():
                    self._take_chunk(device, message)
                case Offer():
                    self._take_offer(message)
                case Report():
                    self._take_report(message)
        except Dropped as error:
            self._desk.drop(error.reason)
            if error.reason == UNKNOWN_DEVICE:
                self._tell_of_unknown(device_of(delivery.topic))
            logger.warning("a message on %s was dropped: %s", delivery.topic, error.message)

    def _tell_of_unknown(self, device: str) -> None:
        """Once each, and of no more than MAX_UNKNOWN, for ids cost a stranger nothing."""
        if device not in self._unknown and len(self._unknown) < MAX_UNKNOWN:
            self._unknown.add(device)
            self._desk.note("unknown_device", device=device)

    def forget_unfinished(self) -> None:
        """The round is over: chunks that still come for it belong to no offer any more."""
        for update_id in tuple(self._offers):
            self._done_with(update_id)
        self._touched.clear()

    def go_on(self) -> None:
        """After a batch: complete what is complete, ask for more where grants came in, serve who waits."""
        for offer in self._touched.values():
            self._go_on(offer)
        self._touched.clear()
        while (update_id := self._grants.next_waiting(self._clock())) is not None:
            waiting = self._offer(update_id)
            if waiting is not None:
                self._go_on(waiting)
                if not self._grants.outstanding(update_id):
                    return

    # ---- by kind of message

    def _take_report(self, report: Report) -> None:
        if (report.job, report.round) != (self._job.name, self._desk.round.number):
            return
        if report.phase == "eligible" and not self._quarantined(report.device):
            self._desk.step(rounds.DeviceEligible(report.device))
        elif report.phase == "failed":
            self._desk.note("device_failed", device=report.device, round=report.round)
            self._desk.step(rounds.DeviceFailed(report.device))

    def _take_offer(self, offer: Offer) -> None:
        desk, device, update_id = self._desk, offer.device, offer.update_id
        if offer.job != self._job.name:
            raise Dropped("other_job", f"an offer for job {offer.job}")
        if self._store.owner(update_id) not in (None, device):
            raise Dropped("taken_update_id", f"{device} offers {update_id.hex()}, another device's update")
        told = self._store.receipt(device, update_id)
        if told is not None:
            receipt = Receipt(self._job.tenant, device, update_id, *told)
            desk.post(desk.topics.receipt(device), receipt)
        elif self._quarantined(device):
            desk.tell(device, update_id, REJECTED, "quarantined after repeated bad updates", offer.round)
        elif offer.round != desk.round.number:
            reason = f"round {offer.round} is not on, round {desk.round.number} is"
            desk.tell(device, update_id, STALE, reason, offer.round)
        elif rounds.TakeUpdate(device, update_id) in desk.step(rounds.UpdateOffered(device, update_id)):
            problem = self._problem(offer)
            if problem is None:
                self._begin(offer)
            else:
                self._refuse(offer, problem)

    def _begin(self, offer: Offer) -> None:
        for superseded in self._store.put_offer(offer):
            self._done_with(superseded)
        bare = replace(offer, payload=b"")
        self._offers[offer.update_id] = self._touched[offer.update_id] = bare
        self._grants.release(offer.update_id)
        for index in range(len(offer.chunk_sha256)) if offer.payload else ():
            start = index * offer.chunk_bytes
            content = offer.payload[start : start + offer.chunk_bytes]
            self._keep(offer, Chunk(offer.update_id, index, content))

    def _take_chunk(self, device: str, chunk: Chunk) -> None:
        offer = self._offer(chunk.update_id)
        if offer is None or offer.device != device:
            raise Dropped("unknown_chunk", f"no offer of {device} names update {chunk.update_id.hex()}")
        self._touched[chunk.update_id] = offer
        self._keep(offer, chunk)

    def _keep(self, offer: Offer, chunk: Chunk) -> None:
        """Keep a chunk whose hash is right; a wrong one is dropped, and asked for again by the next need."""
        self._grants.arrived(offer.update_id, chunk.index, self._clock())
        if chunk.index >= len(offer.chunk_sha256):
            raise Dropped("bad_chunk", f"chunk {chunk.index} of {len(offer.chunk_sha256)}")
        if hashlib.sha256(chunk.content).digest() != offer.chunk_sha256[chunk.index]:
            raise Dropped("bad_chunk", f"chunk {chunk.index} of {offer.update_id.hex()} has a wrong hash")
        self._store.put_chunk(offer.update_id, chunk.index, chunk.content)

    # ---- an update on its way

    def _go_on(self, offer: Offer) -> None:
        if self._store.offer(offer.update_id) is None or self._grants.outstanding(offer.update_id):
            return
        missing = self._store.missing(offer)
        if not missing:
            self._complete(offer)
            return
        granted = self._grants.ask(offer.update_id, missing, self._clock())
        granted_bytes = sum(offer.chunk_size(index) for index in granted)
        need = Need(self._job.tenant, offer.device, offer.update_id, granted, granted_bytes)
        self._desk.post(self._desk.topics.need(offer.device), need)
        self._note("chunks_needed", offer, missing=len(missing), of=len(offer.chunk_sha256))

    def _complete(self, offer: Offer) -> None:
        """All chunks are here: judge the content, then count the update or refuse it."""
        try:
            unpack(self._store.payload(offer.update_id), self.contract, self._job.limits.max_norm)
        except MessageError as error:
            self._refuse(offer, error.message)
            return
        already = offer.device in self._desk.round.counted
        self._desk.step(rounds.UpdateCommitted(offer.device, offer.update_id))
        if not already and self._desk.round.counted.get(offer.device) == offer.update_id:
            self._store.count(offer)
            self._note("update_counted", offer, n_examples=offer.n_examples)
        else:
            self._store.forget(offer.update_id)
        self._done_with(offer.update_id)

    def _refuse(self, offer: Offer, reason: str) -> None:
        self._desk.step(rounds.UpdateRefused(offer.device, offer.update_id, reason))
        offences = self._store.add_offence(offer.device)
        self._store.forget(offer.update_id)
        self._done_with(offer.update_id)
        self._note("update_rejected", offer, reason=reason, offences=offences)

    def _problem(self, offer: Offer) -> str | None:
        """Why this offer can't be taken, from what it says of itself."""
        limits = self._job.limits
        if offer.base_model_sha256 != self._desk.round.base_model_sha256:
            return "trained on another base model"
        if offer.size > limits.max_update_bytes:
            return f"{offer.size} bytes offered, at most {limits.max_update_bytes} are accepted"
        if offer.n_examples > limits.max_examples:
            return f"{offer.n_examples} examples claimed, at most {limits.max_examples} are accepted"
        return None

    def _quarantined(self, device: str) -> bool:
        return self._store.offences(device) >= self._job.limits.quarantine_after

    def _offer(self, update_id: bytes) -> Offer | None:
        """The offer of an unfinished update; parsed once, since each of its chunks asks."""
        offer = self._offers.get(update_id) or self._store.offer(update_id)
        if offer is not None:
            self._offers[update_id] = offer
        return offer

    def _done_with(self, update_id: bytes) -> None:
        self._grants.release(update_id)
        self._offers.pop(update_id, None)

    def _note(self, name: str, offer: Offer, **fields: int | str) -> None:
        update_id = offer.update_id.hex()
        self._desk.note(name, round=offer.round, device=offer.device, update_id=update_id, **fields)
