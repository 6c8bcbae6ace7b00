"""What the quantiser does with whole recurrent layers: run them for calibration, write their int8 form."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy.typing as npt
import tvm
from tvm import relax

from lepton_compilers.integerize.recurrent import (
    LSTM,
    QUANTISED,
    RECURRENT,
    arguments,
    constants,
    is_reverse,
)
from lepton_compilers.passes.graph import Expr, Graph, Var, is_constant, operator, shape, value
from lepton_compilers.passes.rewrite import Rewriter, rewrite
from lepton_compilers.quantize.scales import quantised_weight, weight_scales
from lepton_sdk.program.arithmetic_sequence import LARGEST_CELL_BITS
from lepton_sdk.program.reference_recurrent import gru_sequence, lstm_sequence

Array = npt.NDArray[Any]
Seen = Callable[[str, Array], None]
"""(layer's variable, cells after every step)."""


def with_numpy_layers(module: Any, seen: Seen | None = None) -> Any:
    """The module with its recurrent layers computed by the reference: TVM has no kernels for them."""
    numbers: list[int] = []

    def visit(rewriter: Rewriter, var: Var, old: Expr) -> Expr | None:
        name = operator(old)
        if name not in RECURRENT:
            return None
        numbers.append(len(numbers))
        symbol = f"lepton.numpy_layer{numbers[-1]}"
        tvm.register_global_func(symbol, _numpy_layer(old, str(var.name), seen), override=True)
        given = relax.Tuple([rewriter.mapped(a) for a in arguments(old)])
        fields = list(var.ty.fields) if isinstance(var.ty, relax.TupleType) else var.ty
        return relax.op.call_dps_packed(symbol, given, fields)

    found = any(operator(b.value) in RECURRENT for b in Graph(module["main"]).bindings)
    return rewrite(module, visit) if found else module


def _numpy_layer(call: Expr, name: str, seen: Seen | None) -> Callable[..., None]:
    held, reverse, lstm = constants(call), is_reverse(call), operator(call) in LSTM

    def layer(*tensors: Any) -> None:
        """The arguments, then the results to write."""
        arrays = [tensor.numpy() for tensor in tensors[: -2 if lstm else -1]]
        x, weight, recurrent, bias = arrays[:4]
        first = [*arrays[1 + held :], None, None]
        if lstm:
            hidden, cells = lstm_sequence(x, weight, recurrent, bias, first[0], first[1], reverse)
            tensors[-2].copyfrom(hidden)
            tensors[-1].copyfrom(cells[0 if reverse else -1])
            if seen is not None:
                seen(name, cells)
            return
        after = arrays[4] if held == 4 else None
        tensors[-1].copyfrom(gru_sequence(x, weight, recurrent, bias, after, first[0], reverse))

    return layer


def quantisable(graph: Graph, core: Expr) -> Expr | None:
    """The recurrent call whose hidden states `core` is, where it has an int8 form; else None.

    It has none with first states, which live between calls in float, nor where the last cell is read.
    """
    call = core
    if isinstance(core, relax.TupleGetItem):
        if int(core.index) != 0:
            return None
        call = graph.definition(core.tuple_value)
        source = graph.resolve(core.tuple_value)
        if graph.uses(source) != 1:
            return None
    if operator(call) not in RECURRENT:
        return None
    given = arguments(call)
    whole = len(given) == 1 + constants(call) and not is_constant(given[0])
    return call if whole and all(is_constant(a) for a in given[1:]) else None


def int8_call(
    emit: Callable[[Expr, str], Expr], call: Expr, x: Expr, x_scale: float, cells: float, name: str
) -> Expr:
    """The layer on dequantised x and weights; its result is the hidden states [T, N, H] alone.

    cells: the largest magnitude that calibration saw of a cell.
    """
    given, operands = arguments(call), [x]
    for part, expr in zip(("weight", "recurrent"), given[1:3]):
        rows = value(expr)
        scales = weight_scales(rows, None, x_scale, True)
        integers = relax.const(quantised_weight(rows, scales))
        zero = relax.const(0, "int32")
        held = relax.op.dequantize(integers, relax.const(scales), zero, axis=0)
        operands.append(emit(held, f"{name}/{part}"))
    operands += given[3:]
    if operator(call) in LSTM:
        bits = math.floor(math.log2(32767 / max(cells, 1e-3)))
        operands.append(relax.const(2.0 ** -max(0, min(LARGEST_CELL_BITS, bits)), "float32"))
    units = shape(given[2])[1]
    result = relax.TensorType((*shape(given[0])[:2], units), "float32")
    return relax.op.call_dps_packed(f"{operator(call)}{QUANTISED}", relax.Tuple(operands), result)
