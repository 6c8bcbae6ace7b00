"""A Relax function read as a graph: straight bindings, who defines a variable, who uses it.

Names of Relax operators are the ones TVM prints (`relax.nn.conv2d`); None where a binding is no call of one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

Expr = Any
Var = Any
Array = npt.NDArray[Any]

CONV2D = "relax.nn.conv2d"
MATMUL = "relax.matmul"
ADD = "relax.add"
SUBTRACT = "relax.subtract"
MULTIPLY = "relax.multiply"
RELU = "relax.nn.relu"
CLIP = "relax.clip"
QUANTIZE = "relax.quantize"
DEQUANTIZE = "relax.dequantize"
RESHAPE = "relax.reshape"
PERMUTE = "relax.permute_dims"
MAX_POOL = "relax.nn.max_pool2d"
AVERAGE_POOL = "relax.nn.avg_pool2d"
SOFTMAX = "relax.nn.softmax"
PAD = "relax.nn.pad"
CONCAT = "relax.concat"
CONV2D_TRANSPOSE = "relax.nn.conv2d_transpose"
RESIZE = "relax.image.resize2d"
OWN = "lepton."
"""Prefix of calls that stand for the Program's own operations; they have no Relax operator."""


def is_var(expr: Expr) -> bool:
    """Whether the expression names an input or the result of a binding."""
    return isinstance(expr, tvm.ir.Var)


def is_constant(expr: Expr) -> bool:
    """Whether the compiler knows the tensor."""
    return isinstance(expr, tvm.ir.GenericConst)


def value(expr: Expr) -> Array:
    """The array of a constant."""
    return np.asarray(expr.value.numpy())


def number(expr: Expr) -> float:
    """The number in a scalar constant or a primitive value (as clip's bounds are)."""
    return float(value(expr)) if is_constant(expr) else float(expr.value)


def shape(expr: Expr) -> tuple[int, ...]:
    """Extents of a tensor; every one is known once the importers have fixed the inputs'."""
    extents = expr.ty.shape
    return tuple(int(n) for n in (extents.values if hasattr(extents, "values") else extents))


def known_shape(expr: Expr) -> tuple[int, ...] | None:
    """Extents of a tensor, () for what is none; None where one is not known at compile time."""
    if not isinstance(expr.ty, relax.TensorType):
        return ()
    extents = expr.ty.shape
    values = None if extents is None else getattr(extents, "values", None)
    if values is None or not all(isinstance(n, int | tvm.tirx.IntImm) for n in values):
        return None
    return tuple(int(n) for n in values)


def dtype(expr: Expr) -> str:
    """Element type, as numpy names it; "" for what is no tensor (a tuple, a shape)."""
    return str(expr.ty.dtype) if isinstance(expr.ty, relax.TensorType) else ""


def operator(expr: Expr) -> str | None:
    """Name of the Relax operator that a call applies, or of the Program's own that stands for none."""
    if isinstance(expr, tvm.ir.Call) and isinstance(expr.op, tvm.ir.Op):
        callee = expr.args[0] if expr.op.name == "relax.call_dps_packed" else None
        if isinstance(callee, relax.ExternFunc) and str(callee.global_symbol).startswith(OWN):
            return str(callee.global_symbol)
        return str(expr.op.name)
    return None


def described(expr: Expr) -> str:
    """How an error names an expression: its operator, or the kernel TVM's importer made of it."""
    name = operator(expr)
    if name == "relax.call_tir":
        return f"kernel '{expr.args[0].name_hint}'"
    return (name or type(expr).__name__).removeprefix("relax.").removeprefix("nn.")


def integers(values: Iterable[Any]) -> tuple[int, ...]:
    """TVM's integers as Python's."""
    return tuple(int(v) for v in values)


def bindings(function: Any) -> list[Any]:
    """Every binding in order."""
    return [binding for block in function.body.blocks for binding in block.bindings]


def results(function: Any) -> tuple[Var, ...]:
    """What a function returns, as a list even where it is one tensor.

    The importers end with `gv = lv; return gv`, or a tuple of such; either is looked through.
    """
    defined = {b.var: b.value for b in bindings(function)}
    body = function.body.body
    while is_var(body) and isinstance(defined.get(body), tvm.ir.Tuple | tvm.ir.Var):
        body = defined[body]
    return tuple(body.fields) if isinstance(body, tvm.ir.Tuple) else (body,)


def parts(call: Expr) -> tuple[Expr, ...]:
    """What a concat joins."""
    return tuple(call.args[0].fields)


class Graph:
    """Definitions and uses of one function. Uses count a result of the function as one."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.parameters: tuple[Var, ...] = tuple(function.params)
        self.bindings = bindings(function)
        self.results = results(function)
        self._definition: dict[Var, Expr] = {b.var: b.value for b in self.bindings}
        self._uses: dict[Var, int] = {}
        for expr in (*self._definition.values(), *self.results):
            for operand in operands(expr) if not is_var(expr) else (expr,):
                self._uses[operand] = self._uses.get(operand, 0) + 1

    def resolve(self, expr: Expr) -> Expr:
        """The variable that an alias (`a = b`) stands for; other expressions as they are."""
        while is_var(expr) and is_var(self._definition.get(expr)):
            expr = self._definition[expr]
        return expr

    def definition(self, expr: Expr) -> Expr:
        """What binds a variable; None for inputs, constants and shapes."""
        return self._definition.get(self.resolve(expr)) if is_var(expr) else None

    def operator(self, expr: Expr) -> str | None:
        """Operator that defines a variable."""
        return operator(self.definition(expr))

    def uses(self, var: Var) -> int:
        """How many operands and results the variable is."""
        return self._uses.get(var, 0)


def operands(expr: Expr) -> tuple[Var, ...]:
    """Variables that an expression reads, in order, repeated as it repeats them."""
    if is_var(expr):
        return (expr,)
    if isinstance(expr, tvm.ir.Call):
        found: tuple[Var, ...] = ()
        for argument in expr.args:
            found += operands(argument)
        return found
    if isinstance(expr, tvm.ir.Tuple):
        return tuple(var for field in expr.fields for var in operands(field))
    if isinstance(expr, relax.TupleGetItem):
        return operands(expr.tuple_value)
    return ()
