"""The signed messages of a device's shadow: what is published, what a device should run, what it runs.

Two keys must agree before a device installs anything: the publisher's signs the bundle and the release
statement with its counter, the server's signs the `desired` document that asks one device for it. A server
that was broken into can choose among published releases above the device's counter, or send a device back to
the model it ran before the present one, and nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lepton_sdk.agent.record import (
    Blob,
    Order,
    Phase,
    ProbationPolicy,
    Reason,
    Record,
    Release,
    Result,
    Withdrawal,
)
from lepton_sdk.wire.codec import decode, encode, require
from lepton_sdk.wire.identity import Identity, PublicKey
from lepton_sdk.wire.topics import is_device_id
from lepton_targets.errors import MessageError, SignatureError

MAX_DETAIL = 500
MAX_TARGETS = 64


@dataclass(frozen=True, slots=True)
class ReleaseStatement:
    """Signed by the publisher's key, which also signs bundles.

    digest: SHA-256 hex of the bundle's manifest. file_sha256, file_bytes: the bundle's file by target.
    """

    kind: ClassVar[str] = "release"
    tenant: str
    name: str
    counter: int
    digest: str
    file_sha256: Mapping[str, str]
    file_bytes: Mapping[str, int]
    sig: bytes = b""

    def __post_init__(self) -> None:
        require(self.counter > 0, f"release: counter {self.counter} found, counters begin at 1")
        require(0 < len(self.file_sha256) <= MAX_TARGETS, f"release: 1 to {MAX_TARGETS} targets are accepted")
        require(self.file_sha256.keys() == self.file_bytes.keys(), "release: a size for each file is needed")
        require(all(size > 0 for size in self.file_bytes.values()), "release: files have at least one byte")
        for digest in (self.digest, *self.file_sha256.values()):
            require(_is_sha256(digest), f"release: {digest!r} is no SHA-256 in hexadecimal")

    def release(self) -> Release:
        files = {target: Blob(sha, self.file_bytes[target]) for target, sha in self.file_sha256.items()}
        return Release(self.name, self.counter, self.digest, files)


@dataclass(frozen=True, slots=True)
class Desired:
    """Server → device, retained on `desired`: run a release, or withdraw one. Signed by the server.

    release: an encoded, signed ReleaseStatement, or b"" with `withdraw`, a release counter, instead.
    """

    kind: ClassVar[str] = "desired"
    tenant: str
    device: str
    sequence: int
    release: bytes
    withdraw: int | None
    probation_seconds: float
    probation_inferences: int
    probation_timeout_s: float
    sig: bytes = b""

    def __post_init__(self) -> None:
        require(is_device_id(self.device), f"desired: device {self.device!r} is no device id")
        require(self.sequence > 0, f"desired: sequence {self.sequence} found, sequences begin at 1")
        require((self.withdraw is None) == bool(self.release), "desired: a release or a withdrawal, not both")
        require(self.withdraw is None or self.withdraw > 0, "desired: release counters begin at 1")
        durations = (self.probation_seconds, self.probation_inferences, self.probation_timeout_s)
        require(all(number >= 0 for number in durations), "desired: probation takes numbers from 0")


@dataclass(frozen=True, slots=True)
class Reported:
    """Device → server, retained on `reported`: where its update stands. Signed by the device.

    sequence: the last wish it followed; active_*: the model it runs (counter 0: none); answer_*, result,
    reason, detail: how the last wish ended ("" while none did); refused_messages: documents that it dropped
    as malformed, forged or another's, the last for `last_refusal`.
    """

    kind: ClassVar[str] = "reported"
    tenant: str
    device: str
    phase: str
    sequence: int
    active_name: str
    active_counter: int
    active_digest: str
    floor: int
    answer_sequence: int
    answer_counter: int
    result: str
    reason: str
    detail: str
    targets: tuple[str, ...]
    refused_messages: int
    last_refusal: str
    sig: bytes = b""

    def __post_init__(self) -> None:
        require(is_device_id(self.device), f"reported: device {self.device!r} is no device id")
        require(self.phase in set(Phase), f"reported: unknown phase {self.phase!r}")
        require(self.result in {"", *Result}, f"reported: unknown result {self.result!r}")
        require(self.reason in {"", *Reason}, f"reported: unknown reason {self.reason!r}")


def desired_for(
    device: str, tenant: str, sequence: int, release: bytes, probation: ProbationPolicy, server: Identity
) -> bytes:
    """The signed document that asks `device` for a release. release: an encoded ReleaseStatement."""
    desired = Desired(
        tenant,
        device,
        sequence,
        release,
        None,
        float(probation.seconds),
        probation.inferences,
        float(probation.timeout_s),
    )
    return encode(server.sign(desired))


def withdrawal_for(device: str, tenant: str, sequence: int, counter: int, server: Identity) -> bytes:
    """The signed document that takes release `counter` back from `device`."""
    return encode(server.sign(Desired(tenant, device, sequence, b"", counter, 0.0, 0, 0.0)))


def read_desired(
    payload: bytes, device: str, tenant: str, server: PublicKey, publishers: Sequence[PublicKey]
) -> Order | Withdrawal:
    """The wish in a `desired` document. Raises MessageError or SignatureError unless both keys' signatures
    are right and it is meant for this device and tenant."""
    desired = decode(Desired, payload)
    server.verify(desired)
    if (desired.tenant, desired.device) != (tenant, device):
        raise MessageError(f"desired: for {desired.tenant}/{desired.device}, this is {tenant}/{device}")
    if desired.withdraw is not None:
        return Withdrawal(desired.sequence, desired.withdraw)
    statement = read_statement(desired.release, tenant, publishers)
    policy = ProbationPolicy(
        desired.probation_seconds, desired.probation_inferences, desired.probation_timeout_s
    )
    return Order(desired.sequence, statement.release(), policy)


def read_statement(payload: bytes, tenant: str, publishers: Sequence[PublicKey]) -> ReleaseStatement:
    """A release statement signed by one of `publishers`. Raises MessageError or SignatureError."""
    statement = decode(ReleaseStatement, payload)
    if statement.tenant != tenant:
        raise MessageError(f"release: published for tenant {statement.tenant}, this is {tenant}")
    for key in publishers:
        try:
            key.verify(statement)
        except SignatureError:
            continue
        return statement
    known = ", ".join(key.id for key in publishers) or "nobody"
    raise SignatureError(
        f"release {statement.counter} is not signed by a trusted publisher", f"trusted: {known}"
    )


def report_of(
    record: Record,
    tenant: str,
    targets: Sequence[str],
    identity: Identity,
    refused_messages: int = 0,
    last_refusal: str = "",
) -> bytes:
    """The signed `reported` document of a device with this record.

    A roll-back is reported as such only once the link is back.
    """
    active, answer = record.active, record.answer
    if record.phase is Phase.ROLLING_BACK:
        answer = None
    reported = Reported(
        tenant=tenant,
        device=identity.device_id,
        phase=record.phase.value,
        sequence=record.sequence,
        active_name="" if active is None else active.name,
        active_counter=0 if active is None else active.counter,
        active_digest="" if active is None else active.digest,
        floor=record.floor,
        answer_sequence=0 if answer is None else answer.sequence,
        answer_counter=0 if answer is None else answer.counter,
        result="" if answer is None else answer.result.value,
        reason="" if answer is None or answer.reason is None else answer.reason.value,
        detail="" if answer is None else answer.detail[:MAX_DETAIL],
        targets=tuple(targets),
        refused_messages=refused_messages,
        last_refusal=last_refusal[:MAX_DETAIL],
    )
    return encode(identity.sign(reported))


def read_reported(payload: bytes, device: str, tenant: str, key: PublicKey) -> Reported:
    """A device's report. Raises MessageError or SignatureError unless `device` signed it for this tenant."""
    reported = decode(Reported, payload)
    if (reported.tenant, reported.device) != (tenant, device):
        raise MessageError(
            f"reported: of {reported.tenant}/{reported.device} on the topic of {tenant}/{device}"
        )
    key.verify(reported)
    return reported


def sign_statement(statement: ReleaseStatement, publisher: Identity) -> bytes:
    """The encoded statement with the publisher's signature."""
    return encode(publisher.sign(dataclasses.replace(statement, sig=b"")))


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and all(digit in "0123456789abcdef" for digit in text)
