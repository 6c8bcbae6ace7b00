"""How arrays reach an engine: checked, in order, at the least cost a call.

A C function wants addresses, and numpy takes longer to tell an array's address than a small network takes to
run. So a call is bound once to arrays that stay: buffers that `run` copies through, or the caller's own
arrays for `run_into`, recognised when they come again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lepton_sdk.bundle.manifest import FunctionInterface, TensorSpec
from lepton_sdk.engines import Engine
from lepton_targets.errors import BadInputError, nearest

Arrays = Mapping[str, np.ndarray] | np.ndarray
"""Arrays by name, or the one array where there is only one."""

# Larger arrays are bound where they lie: copying them would cost more than asking for their addresses.
_STAGED_LIMIT_BYTES = 256 << 10


class StagedCall:
    """`Session.run`: one function with buffers for its inputs and outputs."""

    __slots__ = ("_call", "_engine", "_function", "_interface", "_results", "_slots")

    def __init__(self, engine: Engine, function: str, interface: FunctionInterface) -> None:
        self._engine = engine
        self._function = function
        self._interface = interface
        self._slots: tuple[tuple[str, np.ndarray, tuple[int, ...], np.dtype], ...] = ()
        self._results: tuple[tuple[str, Callable[[], np.ndarray]], ...] = ()
        self._call: Callable[[], None] | None = None
        if sum(spec.nbytes for spec in (*interface.inputs, *interface.outputs)) <= _STAGED_LIMIT_BYTES:
            buffers = [_empty(spec) for spec in interface.inputs]
            results = [_empty(spec) for spec in interface.outputs]
            self._slots = tuple((s.name, b, b.shape, b.dtype) for s, b in zip(interface.inputs, buffers))
            self._results = tuple((s.name, r.copy) for s, r in zip(interface.outputs, results))
            self._call = engine.bind(function, buffers, results)

    def __call__(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Outputs by name, in fresh arrays. Raises BadInputError."""
        call = self._call
        if call is None:
            return self._call_in_place(inputs)
        slots = self._slots
        if type(inputs) is np.ndarray and len(slots) == 1:
            _, buffer, shape, dtype = slots[0]
            if inputs.shape != shape or inputs.dtype != dtype:
                raise _unlike(self._interface.inputs[0], inputs)
            buffer[...] = inputs
        elif not self._filled_from(inputs):
            given = _ordered(inputs, self._interface.inputs, "input", self._function)
            for (_, buffer, _, _), array in zip(slots, given):
                buffer[...] = array
        call()
        return {name: copy() for name, copy in self._results}

    def _filled_from(self, inputs: Arrays) -> bool:
        """Fill the buffers from a dict that is right in every way; anything else is looked at slowly."""
        if type(inputs) is not dict or len(inputs) != len(self._slots):
            return False
        for name, buffer, shape, dtype in self._slots:
            array = inputs.get(name)
            if type(array) is not np.ndarray or array.shape != shape or array.dtype != dtype:
                return False
            buffer[...] = array
        return True

    def _call_in_place(self, inputs: Arrays) -> dict[str, np.ndarray]:
        given = _ordered(inputs, self._interface.inputs, "input", self._function)
        dense = [np.require(array, requirements=["C", "A"]) for array in given]
        results = [_empty(spec) for spec in self._interface.outputs]
        self._engine.run(self._function, dense, results)
        return {spec.name: result for spec, result in zip(self._interface.outputs, results)}


class BoundCall:
    """`Session.run_into`: one function bound to the caller's arrays."""

    __slots__ = ("_fills", "_function", "_reads", "call")

    def __init__(
        self, engine: Engine, function: str, interface: FunctionInterface, inputs: Arrays, outputs: Arrays
    ) -> None:
        reads = _ordered(inputs, interface.inputs, "input", function)
        fills = _ordered(outputs, interface.outputs, "output", function)
        for spec, array in zip((*interface.inputs, *interface.outputs), (*reads, *fills)):
            if not (array.flags.c_contiguous and array.flags.aligned):
                raise BadInputError(
                    f"'{spec.name}' is not dense in C order; arrays that are bound are used where they lie",
                    "pass np.ascontiguousarray(x), or use run() which copies",
                )
        for spec, array in zip(interface.outputs, fills):
            given = outputs[spec.name] if isinstance(outputs, Mapping) else outputs
            if given is not array or not array.flags.writeable:
                raise BadInputError(f"output '{spec.name}' can't be written to; pass a writable numpy array")
        _require_apart([*zip(interface.outputs, fills)], [*zip(interface.inputs, reads)])
        self._function = function
        self._reads = {spec.name: array for spec, array in zip(interface.inputs, reads)}
        self._fills = {spec.name: array for spec, array in zip(interface.outputs, fills)}
        self.call = engine.bind(function, reads, fills)

    def matches(self, inputs: Arrays, outputs: Arrays, function: str) -> bool:
        """Whether these are the very arrays that the call is bound to."""
        return function == self._function and _same(inputs, self._reads) and _same(outputs, self._fills)


def _same(given: Arrays, bound: dict[str, np.ndarray]) -> bool:
    if type(given) is np.ndarray:
        return len(bound) == 1 and given is next(iter(bound.values()))
    if type(given) is not dict or len(given) != len(bound):
        return False
    for name, array in bound.items():  # noqa: SIM110  a generator would cost as much as all the rest
        if given.get(name) is not array:
            return False
    return True


def _ordered(
    given: Arrays, specs: tuple[TensorSpec, ...], role: str, function: str
) -> list[np.ndarray[Any, Any]]:
    """The arrays in the function's order, shapes and dtypes checked."""
    if not isinstance(given, Mapping):
        if len(specs) != 1:
            raise BadInputError(
                f"function '{function}' has {len(specs)} {role}s; one bare array was given",
                f"pass a dict: {_listed(specs)}",
            )
        given = {specs[0].name: given}
    names = [spec.name for spec in specs]
    for name in given:
        if name not in names:
            raise BadInputError(
                f"function '{function}' has no {role} '{name}'{nearest(str(name), names)}",
                f"expected: {_listed(specs)}",
            )
    ordered = []
    for spec in specs:
        if spec.name not in given:
            raise BadInputError(
                f"{role} '{spec.name}' of function '{function}' is missing", f"expected: {_listed(specs)}"
            )
        array = given[spec.name]
        if not isinstance(array, np.ndarray):
            array = np.asarray(array)
        if array.shape != spec.shape or array.dtype != spec.dtype:
            raise _unlike(spec, array)
        ordered.append(array)
    return ordered


def _require_apart(
    outputs: list[tuple[TensorSpec, np.ndarray]], inputs: list[tuple[TensorSpec, np.ndarray]]
) -> None:
    for position, (spec, array) in enumerate(outputs):
        for other, neighbour in (*outputs[position + 1 :], *inputs):
            if np.may_share_memory(array, neighbour):
                raise BadInputError(
                    f"output '{spec.name}' shares memory with '{other.name}'; give each its own"
                )


def _unlike(spec: TensorSpec, array: np.ndarray) -> BadInputError:
    return BadInputError(
        f"'{spec.name}' is {array.dtype}[{','.join(map(str, array.shape))}]",
        f"expected {spec.dtype}[{','.join(map(str, spec.shape))}]",
    )


def _listed(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(map(str, specs)) or "nothing"


def _empty(spec: TensorSpec) -> np.ndarray:
    return np.zeros(spec.shape, spec.dtype)
