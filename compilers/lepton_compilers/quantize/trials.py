"""Many variants of one network over the same examples, each tensor computed once for all that share it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_sdk.program import Operation, Program, Tensor, TensorId
from lepton_sdk.program.reference import rule_of

Array = npt.NDArray[Any]
Key = bytes


class Trials:
    """Runs programs whose inputs are the same examples.

    An operation is known by what it is and by what its inputs are, constants by their bytes: a variant that
    differs from a remembered program in one layer computes that layer and what follows. Memory: every
    tensor of one program for every example.
    """

    def __init__(self, inputs: Sequence[Array]) -> None:
        """inputs: [n, *shape of an example], in the order of the programs' inputs, whose batch is one."""
        self.inputs = inputs
        self._kept: dict[Key, list[Array]] = {}

    def outputs(self, program: Program, *, remember: bool = False) -> Array:
        """The first output of every example, float64 [n, values].

        remember: keep this program's tensors, and those alone, for the variants that follow.
        """
        body, t = program.function(), program.tensors
        keys: dict[TensorId, Key] = {name: _key("input", str(i)) for i, name in enumerate(body.inputs)}
        values: dict[TensorId, list[Array]] = {
            name: [array[i : i + 1] for i in range(len(array))]
            for name, array in zip(body.inputs, self.inputs)
        }
        constants = {name: tensor.value for name, tensor in t.items() if tensor.value is not None}
        keys |= {
            name: _key(str(value.dtype), str(value.shape), value.tobytes())
            for name, value in constants.items()
        }
        count = len(self.inputs[0])
        for op in body.operations:
            wanted = [_result_key(op, place, keys, t) for place in range(len(op.outputs))]
            keys |= dict(zip(op.outputs, wanted))
            if all(key in self._kept for key in wanted):
                values |= {name: self._kept[key] for name, key in zip(op.outputs, wanted)}
                continue
            rule = rule_of(op, t)
            columns: list[list[Array]] = [[] for _ in op.outputs]
            for i in range(count):
                held = {n: values[n][i] if n in values else constants[n] for n in op.inputs}
                for column, result in zip(columns, rule(op, held, t), strict=True):
                    column.append(result)
            values |= dict(zip(op.outputs, columns))
        if remember:
            self._kept = {keys[name]: rows for name, rows in values.items()}
        last = body.outputs[0]
        return np.array([row.reshape(-1) for row in values[last]], np.float64)


def _result_key(op: Operation, place: int, keys: Mapping[TensorId, Key], t: Mapping[TensorId, Tensor]) -> Key:
    """What the operation's result at `place` is, whatever its tensors are called."""
    names = {name: f"#{i}" for i, name in enumerate(dict.fromkeys((*op.inputs, *op.outputs)))}
    plain = op.renamed(names)
    fields = [f"{f.name}={getattr(plain, f.name)!r}" for f in dataclasses.fields(plain)]
    ends = [f"{t[name].shape} {t[name].dtype} {t[name].quantization}" for name in (*op.inputs, *op.outputs)]
    return _key(type(op).__name__, str(place), *fields, *ends, *(keys[name] for name in op.inputs))


def _key(*parts: str | bytes) -> Key:
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.digest()
