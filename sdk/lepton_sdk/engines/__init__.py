"""Things that execute a model's functions. A session asks for one by name.

    selection.py   which of a bundle's artifacts this CPU should run
    native.py      machine code from the bundle, loaded from memory (library.py), served by threads (pool.py),
                   in aligned arrays (memory.py), timed by readings of a clock (stamps.py)
    reference.py   the Program itself on numpy: slow, exact, on every operating system
    litert.py      a plain .tflite through LiteRT: fall-back and oracle

Further engines come by the entry-point group `lepton.engines`; each names a function
`open(source, threads) -> Engine`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lepton_sdk.bundle.manifest import FunctionInterface
from lepton_sdk.bundle.reader import Bundle
from lepton_targets.errors import UsageError, nearest

if TYPE_CHECKING:
    from pathlib import Path

GROUP = "lepton.engines"

_MODULES = {"native": "native", "reference": "reference", "litert": "litert"}

OPEN_PLAIN_FILES = frozenset({"litert"})
"""Engines that take a path of another format instead of a bundle."""


class Engine(Protocol):
    """Executes functions of one model. Not for two threads at once: working memory is shared."""

    @property
    def name(self) -> str:
        """Name it is asked for by."""

    @property
    def target(self) -> str:
        """What the code was made for."""

    @property
    def threads(self) -> int:
        """How many threads run one call."""

    @property
    def functions(self) -> Mapping[str, FunctionInterface]:
        """Functions this engine can run."""

    def bind(
        self, function: str, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]
    ) -> Callable[[], None]:
        """A call that reads these arrays and fills those, as often as wanted.

        The arrays are dense, aligned, in the function's order, of its shapes and dtypes; the caller checked.
        """

    def run(self, function: str, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        """One such call."""

    def variables(self) -> dict[str, np.ndarray]:
        """Writable views of what lives between calls, by name; they stay valid as long as the engine."""

    def reset(self) -> None:
        """Give every variable its first value again."""


def open_engine(
    name: str, source: Bundle | str | Path, threads: int = 1, target: str | None = None
) -> Engine:
    """Open `source` (a checked bundle, or a path for OPEN_PLAIN_FILES) with the engine of that name.

    target: whose code `native` is to run. Raises UsageError for an unknown name, a thread count below 1 or a
    target where there is no choice, else what the engine raises.
    """
    if threads < 1:
        raise UsageError(f"threads is {threads}; at least 1 is needed")
    if target is not None and name in engine_names() and name != "native":
        raise UsageError(
            f"the engine '{name}' runs no target's code, so '{target}' can't be chosen",
            "leave --target out, or take the engine 'native'",
        )
    if name in _MODULES:
        module = importlib.import_module(f"lepton_sdk.engines.{_MODULES[name]}")
        engine: Engine = module.open(source, threads, *(() if target is None else (target,)))
        return engine
    from importlib.metadata import entry_points

    for entry in entry_points(group=GROUP, name=name):
        plugged: Engine = entry.load()(source, threads)
        return plugged
    known = engine_names()
    raise UsageError(f"unknown engine '{name}'{nearest(name, known)}", f"known: {', '.join(known)}")


def engine_names() -> tuple[str, ...]:
    """Names that `open_engine` knows, installed plug-ins included."""
    from importlib.metadata import entry_points

    return (*_MODULES, *sorted(entry.name for entry in entry_points(group=GROUP)))
