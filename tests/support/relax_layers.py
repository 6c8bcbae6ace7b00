"""One Relax operator as a whole module, as the importers would give it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm
from tvm import relax


def tensor(name: str, shape: Sequence[int], dtype: str = "float32") -> Any:
    """An input."""
    return relax.Var(name, relax.TensorType(list(shape), dtype))


def module_of(layer: Callable[..., Any], *inputs: Any) -> Any:
    """A module whose `main` is one layer; every result of it is an output `y0`, `y1`, …"""
    builder = relax.BlockBuilder()
    with builder.function("main", list(inputs), attrs={"num_input": len(inputs)}):
        with builder.dataflow():
            result = builder.emit(layer(*inputs))
            fields = [result]
            if isinstance(result.ty, relax.TupleType):
                fields = [builder.emit(relax.TupleGetItem(result, i)) for i in range(len(result.ty.fields))]
            output = builder.emit_output(fields[0] if len(fields) == 1 else relax.Tuple(fields))
        builder.emit_func_output(output)
    main = builder.finalize()["main"]
    return tvm.IRModule({"main": main.with_attr("output_names", [f"y{i}" for i in range(len(fields))])})
