"""What compiled code does one step after another: whose work each is, and by which kernel.

The lists of a target's functions lie in the bundle's segment `steps.<target>`, canonical JSON.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lepton_sdk.bundle import format as layout
from lepton_sdk.bundle.manifest import canonical_json, steps_segment
from lepton_sdk.bundle.parsing import parse_json
from lepton_targets.errors import BundleFormatError, UnavailableError

if TYPE_CHECKING:
    from lepton_sdk.bundle.reader import Bundle


@dataclass(frozen=True, slots=True)
class Step:
    """What code does between two readings of a clock.

    kernels: C functions, by name, in the order of their first calls. operations: those of the function in the
    Program that they work for, by number; several where they are fused. converts: the tensor that is only
    brought into another form for what follows, and into: which, as `blocks` or `dense`; None where it is an
    operation's own work. parts: how many can run at the same time.
    """

    kernels: tuple[str, ...]
    operations: tuple[int, ...]
    converts: str | None = None
    into: str | None = None
    parts: int = 1


def dump(steps: Mapping[str, tuple[Step, ...]]) -> bytes:
    """The segment's bytes: the steps of each function, by its name."""
    return canonical_json({name: [asdict(step) for step in listed] for name, listed in steps.items()})


def of_bundle(bundle: Bundle, target: str, function: str) -> tuple[Step, ...]:
    """The steps of a function in a target's code.

    Raises UnavailableError for a bundle of an older compiler, BundleFormatError for a senseless list.
    """
    name = steps_segment(target)
    if name not in {held.name for held in bundle.manifest.segments}:
        raise UnavailableError(
            f"the code for {target} in {bundle.path} can't tell its layers' times",
            "it was made by an older lepton-edge: compile the model again",
        )
    document = parse_json(bytes(bundle.segment(name)), name)
    listed = document.get(function) if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) > layout.COUNT_LIMIT:
        raise BundleFormatError(f"{bundle.path} has no list of the steps of '{function}' in '{name}'")
    operations = len(bundle.program().function(function).operations)
    return tuple(
        _step(value, operations, f"{bundle.path}: step {n} in '{name}'") for n, value in enumerate(listed)
    )


def _step(value: Any, operations: int, where: str) -> Step:
    if not isinstance(value, dict):
        raise BundleFormatError(f"{where} is no object")
    kernels: Any = value.get("kernels")
    numbers: Any = value.get("operations")
    if not _list_of(kernels, lambda v: type(v) is str and re.fullmatch(r"\w{1,128}", v)) or not kernels:
        raise BundleFormatError(f"{where} names no kernels")
    if not _list_of(numbers, lambda v: type(v) is int and 0 <= v < operations):
        raise BundleFormatError(f"{where} is of operations {numbers!r}; the function has {operations}")
    converts, into, parts = value.get("converts"), value.get("into"), value.get("parts")
    if type(parts) is not int or not 0 < parts <= layout.COUNT_LIMIT:
        raise BundleFormatError(f"{where} has {parts!r} parts")
    if not all(text is None or (type(text) is str and text.isprintable()) for text in (converts, into)):
        raise BundleFormatError(f"{where} converts {converts!r} into {into!r}; names are expected")
    return Step(tuple(kernels), tuple(numbers), converts, into, parts)


def _list_of(value: Any, accept: Any) -> bool:
    return isinstance(value, list) and len(value) <= layout.COUNT_LIMIT and all(map(accept, value))
