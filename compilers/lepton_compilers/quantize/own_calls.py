"""The Program's own operations inside a module that TVM runs for calibration: computed by the reference.

TVM finds them by name in its registry; a call there comes with tensors, the results' to be filled at the end.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import tvm
from tvm import relax

from lepton_compilers.integerize import integerize
from lepton_compilers.passes.graph import bindings, operator
from lepton_sdk.program.reference import Reference

FLOWING = {"lepton.detections": (0, 1), "lepton.mirror_pad": (0,)}
"""Which operands are tensors of the network; the others are constants."""


def register_own_calls(module: Any) -> None:
    """Tell TVM of every operation of our own that `main` calls."""
    for name in {operator(binding.value) for binding in bindings(module["main"])} & {*FLOWING}:
        tvm.register_global_func(name, functools.partial(_run, name), override=True)


def _run(name: str | None, *tensors: Any) -> None:
    """One call: operands, then the results' tensors."""
    flowing = FLOWING[str(name)]
    results = 4 if name == "lepton.detections" else 1
    operands, targets = tensors[:-results], tensors[-results:]
    program = _program(str(name), [t.numpy() for t in operands], flowing, [_type(t) for t in targets])
    found = Reference(program).run([operands[place].numpy() for place in flowing])
    for array, target in zip(found, targets, strict=True):
        target.copyfrom(array)


def _type(tensor: Any) -> Any:
    return relax.TensorType(tuple(int(n) for n in tensor.shape), str(tensor.dtype))


def _program(name: str, operands: Sequence[Any], flowing: tuple[int, ...], types: Sequence[Any]) -> Any:
    """The operation alone, by the rule that the network's own layer has."""
    variables = {
        place: relax.Var(f"x{place}", relax.TensorType(operands[place].shape, str(operands[place].dtype)))
        for place in flowing
    }
    arguments = [variables.get(place, relax.const(array)) for place, array in enumerate(operands)]
    builder = relax.BlockBuilder()
    with builder.function("main", list(variables.values())):
        with builder.dataflow():
            call = relax.op.call_dps_packed(name, relax.Tuple(arguments), list(types))
            found = builder.emit(call)
            if len(types) > 1:
                parts = [builder.emit(relax.TupleGetItem(found, place)) for place in range(len(types))]
                found = relax.Tuple(parts)
            output = builder.emit_output(found)
        builder.emit_func_output(output)
    main = builder.get()["main"].with_attr("num_input", len(variables))
    names = [f"y{place}" for place in range(len(types))]
    return integerize(tvm.IRModule({"main": main.with_attr("output_names", names)}))
