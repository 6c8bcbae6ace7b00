"""The proofs a new bundle gives before it may become active, and what each failure is called."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from lepton_sdk.agent.record import Candidate, Problem, Reason
from lepton_sdk.agent.slots import is_disc_full
from lepton_sdk.bundle import Bundle
from lepton_sdk.session import Session
from lepton_targets.errors import (
    BundleFormatError,
    LeptonError,
    NewerFormatError,
    SelfTestError,
    SignatureError,
    UnavailableError,
)

REFERENCE = "reference"


def verify_download(path: Path, candidate: Candidate, trust: Sequence[Path], engine: str) -> None:
    """Check the file against the release: content, format, publisher's signature, identity, target.

    Raises BundleFormatError, NewerFormatError, SignatureError or UnavailableError (wrong target).
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != candidate.blob.sha256:
        raise BundleFormatError(f"the download has SHA-256 {found}; the release says {candidate.blob.sha256}")
    bundle = Bundle.open(path)
    bundle.verify_signature(trust)
    if bundle.digest != candidate.order.release.digest:
        raise BundleFormatError(
            f"the bundle is {bundle.digest}; the release says {candidate.order.release.digest}"
        )
    targets = [artifact.target for artifact in bundle.artifacts]
    if engine != REFERENCE and candidate.target not in targets:
        raise UnavailableError(
            f"the bundle has no code for {candidate.target}, which the release promises",
            f"it has: {', '.join(targets) or 'none'}",
        )


def open_installed(path: Path, digest: str, trust: Sequence[Path], engine: str, threads: int) -> Session:
    """A session of a slot's bundle. digest: what was installed there, for an older release is signed as well.

    Raises BundleFormatError (altered, or another bundle), SignatureError, UnavailableError.
    """
    bundle = Bundle.open(path)
    if bundle.digest != digest:
        raise BundleFormatError(
            f"{path} holds the bundle {bundle.digest}; {digest} was installed there",
            "the slot was changed by something else: publish the model again with a new counter",
        )
    return Session(bundle, engine=engine, threads=threads, trust=trust)


def prove(path: Path, digest: str, trust: Sequence[Path], engine: str, threads: int) -> Session:
    """Open the bundle as it will run and run its golden vectors. Raises LeptonError."""
    session = open_installed(path, digest, trust, engine, threads)
    try:
        session.self_test()
    except UnavailableError as error:
        raise SelfTestError(error.message, *error.details) from error
    return session


def within(seconds: float, act: Callable[[], object]) -> None:
    """Run `act` on a thread of its own; raises what it raises, or SelfTestError when it takes longer.

    Native code can't be stopped from outside: what hangs goes on until this process ends.
    """
    raised: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="lepton-self-test", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise SelfTestError(f"the self-test did not end within {seconds:g} s")
    if raised:
        raise raised[0]


def problem_of(error: Exception) -> Problem:
    """The name of a failure in a report. Discs may recover; proofs that failed will fail again."""
    detail = error.message if isinstance(error, LeptonError) else str(error)
    cause = error.__cause__
    match error:
        case OSError() if is_disc_full(error):
            return Problem(Reason.DISC_FULL, detail, lasting=False)
        case OSError():
            return Problem(Reason.STORAGE, detail, lasting=False)
        case UnavailableError() if isinstance(cause, OSError) and is_disc_full(cause):
            return Problem(Reason.DISC_FULL, detail, lasting=False)
        case SignatureError():
            return Problem(Reason.SIGNATURE, detail)
        case SelfTestError():
            return Problem(Reason.SELF_TEST, detail)
        case NewerFormatError():
            return Problem(Reason.NEWER_FORMAT, detail)
        case UnavailableError():
            return Problem(Reason.WRONG_TARGET, detail)
        case LeptonError():
            return Problem(Reason.DAMAGED, detail)
        case _:
            return Problem(Reason.SELF_TEST, f"{type(error).__name__}: {detail}")
