"""A Relax call as a `FloatKernel`: the form of every layer that has no typed operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tvm
from tvm import relax

from lepton_compilers.integerize.draft import Draft
from lepton_compilers.integerize.lower_float import Lowered
from lepton_compilers.passes.graph import Expr, Var, dtype, is_constant, is_var, operator
from lepton_compilers.passes.own_operators import is_own, own_arguments
from lepton_sdk.program import TensorId
from lepton_sdk.program.float_kernel import FloatKernel, encoded, float_item
from lepton_sdk.program.reference_kernels import KERNELS
from lepton_sdk.program.tensors import DTYPES


def float_kernel(draft: Draft, var: Var, items: Mapping[int, Var]) -> Lowered | None:
    """The kernel that the definition of `var` is; None where the reference has no rule for it.

    items: the variables that read single results, by place, where the call gives several.
    """
    call = draft.graph.definition(var)
    name = operator(call)
    if name not in KERNELS or not all(kind in DTYPES for kind in _result_types(var)):
        return None
    reader = _Reader(draft, draft.layer(items[min(items)] if items else var))
    operands, attrs = own_arguments(call) if is_own(call) else (list(call.args), attributes(call))
    args = [reader.read(operand) for operand in operands]
    if None in (*args, attrs):
        return None
    ys = tuple(_results(draft, var, items, reader.layer))
    held = None if is_own(call) else call.attrs
    kind = None if held is None else type(held).__tvm_ffi_type_info__.type_key
    op = FloatKernel(str(name), encoded(args, attrs or {}, kind), tuple(reader.names), ys)
    return Lowered((op,), tuple(reader.reads))


class _Reader:
    """Reads a call's arguments; collects the tensors among them and the variables to compute first."""

    def __init__(self, draft: Draft, layer: str) -> None:
        self.draft = draft
        self.layer = layer
        self.names: list[TensorId] = []
        self.reads: list[Var] = []

    def read(self, expr: Expr) -> dict[str, Any] | None:
        """The argument's canonical form; None where it has none."""
        if isinstance(expr, tvm.ir.Tuple):
            inner = [self.read(field) for field in expr.fields]
            return None if None in inner else {"tuple": inner}
        if isinstance(expr, relax.ShapeExpr):
            return {"shape": [int(n) for n in expr.values]}
        if isinstance(expr, tvm.tirx.IntImm):
            return {"int": int(expr.value), "dtype": str(expr.ty.dtype)}
        if isinstance(expr, tvm.tirx.FloatImm):
            return float_item(float(expr.value), str(expr.ty.dtype))
        return self._tensor(expr) if is_var(expr) or is_constant(expr) else None

    def _tensor(self, expr: Expr) -> dict[str, Any] | None:
        what = self.draft.known(expr)
        if what is None:
            if dtype(expr) not in DTYPES:
                return None
            name = self.draft.tensor(expr)
            self.reads.append(expr)
        elif what.parameter is not None:
            name = self.draft.float_constant(f"{self.layer}/operand", what)
        else:
            value = what.values if what.scales is None else what.real.astype(np.float32)
            if value.dtype.name not in DTYPES or 0 in value.shape:
                return None
            name = self.draft.constant(f"{self.layer}/operand", value)
        self.names.append(name)
        return {"x": len(self.names) - 1}


def attributes(call: Expr) -> dict[str, Any] | None:
    """A call's attributes as plain values by name; None where one has no plain form."""
    if call.attrs is None:
        return {}
    info = type(call.attrs).__tvm_ffi_type_info__
    try:
        return {field.name: _plain(getattr(call.attrs, field.name)) for field in info.fields}
    except TypeError:
        return None


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    if isinstance(value, tvm.tirx.IntImm):
        return int(value.value)
    if isinstance(value, tvm.tirx.FloatImm):
        return float(value.value)
    if type(value).__name__ in ("dtype", "DataType"):
        return str(value)
    if hasattr(value, "__iter__"):
        return [_plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no plain form")


def _result_types(var: Var) -> list[str]:
    fields = var.ty.fields if isinstance(var.ty, relax.TupleType) else [var.ty]
    return [str(f.dtype) if isinstance(f, relax.TensorType) else "" for f in fields]


def _results(draft: Draft, var: Var, items: Mapping[int, Var], layer: str) -> list[TensorId]:
    if not isinstance(var.ty, relax.TupleType):
        return [draft.tensor(var)]
    names = []
    for place, field in enumerate(var.ty.fields):
        if place in items:
            names.append(draft.tensor(items[place]))
        else:
            extents = tuple(int(n) for n in field.shape)
            names.append(draft.scratch(f"{layer}/unread", extents, str(field.dtype)))
    return names
