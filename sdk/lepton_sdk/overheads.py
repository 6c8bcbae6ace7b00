"""What a call of a session costs beyond the model's own code."""

from __future__ import annotations

import copy
import ctypes
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lepton_sdk.benchmark import Latency, measure
from lepton_sdk.bundle.manifest import FunctionInterface
from lepton_sdk.session import Session


def call_overheads(session: Session, seconds: float = 0.6) -> tuple[Latency, Latency]:
    """What `run`, and `run_into` with the same arrays, cost beyond the model's own code, measured in turns.

    All of their work around a C function that does nothing.
    """
    idle = copy.copy(session)
    interface = session.interface()
    idle._engine, idle._staged, idle._bound = _NoWork(interface), {}, None
    inputs, outputs = (
        {spec.name: np.zeros(spec.shape, spec.dtype) for spec in specs}
        for specs in (interface.inputs, interface.outputs)
    )
    given = next(iter(inputs.values())) if len(inputs) == 1 else inputs
    filled = next(iter(outputs.values())) if len(outputs) == 1 else outputs
    run, run_into = measure([lambda: idle.run(given), lambda: idle.run_into(given, filled)], seconds)
    return run, run_into


class _NoWork:
    """An engine whose function is the C library's `strlen` of nothing, called as compiled code is."""

    name = target = "none"
    threads = 1

    def __init__(self, interface: FunctionInterface) -> None:
        self.functions: Mapping[str, FunctionInterface] = {"infer": interface}

    def bind(
        self, function: str, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]
    ) -> Callable[[], None]:
        entry: Callable[..., int] = ctypes.CDLL(None).strlen
        arguments = ((ctypes.c_void_p * 6)(),)

        def call(entry: Callable[..., int] = entry, arguments: tuple[object, ...] = arguments) -> None:
            if entry(*arguments):
                raise ArithmeticError("the length of nothing is not 0")

        return call

    def run(self, function: str, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        self.bind(function, inputs, outputs)()

    def variables(self) -> dict[str, np.ndarray]:
        return {}

    def reset(self) -> None:
        return None
