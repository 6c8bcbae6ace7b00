"""The one tree of errors. Each carries the exit code that the `lepton` command ends with.

A message says what was asked, what was found, what is accepted and what to do next; the first line
stands alone, the rest are details. `nearest` lists known names for an unknown one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar


class LeptonError(Exception):
    """Base of every error the SDK raises on purpose. `exit_code` is what the command line returns."""

    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, *details: str) -> None:
        super().__init__("\n".join((message, *("  " + detail for detail in details))))
        self.message = message
        self.details = details


class UsageError(LeptonError):
    """Wrong use: options that contradict each other, an unknown name."""

    exit_code = 2


class BadInputError(LeptonError):
    """Input that can't be used: malformed, NaN, wrong shape or dtype."""

    exit_code = 3


class BundleFormatError(BadInputError):
    """A bundle that is truncated, altered or not a bundle."""


class NewerFormatError(BundleFormatError):
    """A bundle written in a newer major format than this version reads."""


class UnsupportedOperatorError(BadInputError):
    """A layer that has no form on the target; the message names the layer and what is supported."""


class MessageError(BadInputError):
    """A message from the network that is malformed or breaks the protocol."""


class CheckFailedError(LeptonError):
    """A check said no: signature, self-test, outcome of the demo."""

    exit_code = 4


class SignatureError(CheckFailedError):
    """A signature that is missing where one is required, or is wrong."""


class SelfTestError(CheckFailedError):
    """A program whose results differ from its golden vectors on this device."""


class UnavailableError(LeptonError):
    """Something that is not there: a broker, a tool, an extra, a device, a target."""

    exit_code = 5


class MissingExtraError(UnavailableError):
    """A part of the SDK whose optional dependencies are not installed."""

    def __init__(self, what: str, extra: str, missing: str) -> None:
        super().__init__(
            f"{what} needs the extra '{extra}', which is not installed ({missing} is missing)",
            f"install it:  pip install 'lepton-edge[{extra}]'",
        )
        self.extra = extra


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """'; did you mean a, b?' for an unknown `name`, or '' when nothing known is near."""
    import difflib  # only for a message: its import takes as long as the rest of a device's start

    matches = difflib.get_close_matches(name, list(known), n=count, cutoff=0.65)
    return f"; did you mean {', '.join(matches)}?" if matches else ""
