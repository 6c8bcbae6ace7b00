"""What one tensor and numbers decide, element by element: any row of functions is one function.

The int8 form of such a row is one table, however many layers an exporter made of it (GELU is five of them).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lepton_compilers.integerize.known import Array
from lepton_compilers.passes.functions import UNARY
from lepton_compilers.passes.graph import (
    ADD,
    CLIP,
    CONV2D,
    DEQUANTIZE,
    MATMUL,
    MULTIPLY,
    RELU,
    SUBTRACT,
    Expr,
    Graph,
    Var,
    dtype,
    is_constant,
    is_var,
    number,
    operator,
    shape,
    value,
)
from lepton_sdk.program.reference_sequence import FUNCTIONS

BINARY: Mapping[str, Callable[[Array | float, Array | float], Array]] = {
    ADD: np.add,
    SUBTRACT: np.subtract,
    MULTIPLY: np.multiply,
    "relax.divide": np.divide,
    "relax.maximum": np.maximum,
    "relax.minimum": np.minimum,
    "relax.power": np.power,
}
COMPARISONS: Mapping[str, Callable[[Array | float, Array | float], Array]] = {
    "relax.equal": np.equal,
    "relax.greater": np.greater,
    "relax.greater_equal": np.greater_equal,
    "relax.less": np.less,
    "relax.less_equal": np.less_equal,
    "relax.not_equal": np.not_equal,
}
WHERE = "relax.where"
ARITHMETIC = (ADD, SUBTRACT, MULTIPLY)
BOUNDS = (RELU, CLIP)


def parameter(call: Expr) -> float:
    """The number that a function of UNARY takes beside its operand."""
    for name in ("alpha", "beta"):
        if hasattr(call.attrs, name):
            return float(getattr(call.attrs, name))
    return 1.0


@dataclass(frozen=True, slots=True)
class Pointwise:
    """y = f(x), element by element.

    source: x. result: y. calls: every call between them in order, the result's included. plain: nothing but
    one sum, product or bound, for which layers have better forms of their own.
    """

    source: Var
    result: Var
    calls: tuple[tuple[Var, Expr], ...]
    plain: bool

    @property
    def inside(self) -> tuple[Var, ...]:
        """The variables between source and result."""
        return tuple(var for var, _ in self.calls[:-1])

    def of(self, graph: Graph, x: Array) -> Array:
        """f of float64 values."""
        held: dict[Var, Array] = {}

        def read(expr: Expr) -> Array | float:
            if is_constant(expr):
                return float(value(expr).reshape(()))
            return held.get(graph.resolve(expr), x)

        y = x
        with np.errstate(all="ignore"):
            for var, call in self.calls:
                y = held[var] = np.asarray(_applied(call, [read(a) for a in _tensors(call)]), np.float64)
        return np.broadcast_to(y, x.shape)


def _applied(call: Expr, operands: list[Array | float]) -> Array:
    name = operator(call) or ""
    if name in BINARY or name in COMPARISONS:
        return {**BINARY, **COMPARISONS}[name](*operands)
    if name == WHERE:
        return np.where(np.asarray(operands[0]) != 0, operands[1], operands[2])
    x = np.asarray(operands[0])
    if name in BOUNDS:
        low, high = (0.0, np.inf) if name == RELU else (number(call.args[1]), number(call.args[2]))
        return np.asarray(np.clip(x, low, high))
    return FUNCTIONS[UNARY[name]](x, parameter(call))


def read_pointwise(graph: Graph, result: Var) -> Pointwise | None:
    """The longest row of functions of one tensor that ends in `result`; None where there is none.

    What something else reads too ends the row, for it needs a tensor of its own; so does a layer's bias.
    """
    result = graph.resolve(result)
    if not _is_function(graph, result) or dtype(result) != "float32":
        return None
    order = {b.var: i for i, b in enumerate(graph.bindings)}
    inside = {result}
    best: tuple[Var, set[Var]] | None = None
    while True:
        leaves = {leaf for var in inside for leaf in _operands(graph, var)} - inside
        if len({_identity(graph, leaf) for leaf in leaves}) == 1:
            best = next(iter(leaves)), set(inside)
        grown = [
            leaf
            for leaf in leaves
            if leaf in order
            and _is_function(graph, leaf)
            and not _is_biased(graph, leaf)
            and graph.uses(leaf) == sum(_operands(graph, var).count(leaf) for var in inside)
        ]
        if not grown:
            break
        inside.add(max(grown, key=order.__getitem__))
    if best is None or shape(best[0]) != shape(result):
        return None
    source, held = best
    calls = tuple((var, graph.definition(var)) for var in sorted(held, key=order.__getitem__))
    names = [operator(call) for _, call in calls]
    varying = sum(len(_operands(graph, var)) for var in held)
    plain = all(n in (*ARITHMETIC, *BOUNDS) for n in names) and varying == len(calls) and len(calls) <= 2
    return Pointwise(source, result, calls, plain)


def _is_function(graph: Graph, var: Var) -> bool:
    """Whether a variable is a function of one element of each operand, and other operands are numbers."""
    call = graph.definition(var)
    name = operator(call)
    known = name in COMPARISONS if dtype(var) == "bool" else name in (*UNARY, *BINARY, *BOUNDS, WHERE)
    if not known or dtype(var) not in ("float32", "bool"):
        return False
    tensors = _tensors(call)
    constants = [a for a in tensors if is_constant(a)]
    alike = all(shape(a) == shape(var) for a in tensors if not is_constant(a))
    return alike and len(constants) < len(tensors) and all(value(c).size == 1 for c in constants)


def _operands(graph: Graph, var: Var) -> list[Var]:
    call = graph.definition(var)
    return [graph.resolve(a) for a in _tensors(call) if is_var(a)]


def _tensors(call: Expr) -> list[Expr]:
    """The operands of a function that are tensors; bounds are not."""
    name = operator(call)
    count = 3 if name == WHERE else 2 if name in BINARY or name in COMPARISONS else 1
    return list(call.args[:count])


def _identity(graph: Graph, var: Var) -> object:
    """What a variable stands for: several dequantizes of one int8 tensor are one."""
    definition = graph.definition(var)
    return graph.resolve(definition.args[0]) if operator(definition) == DEQUANTIZE else var


def _is_biased(graph: Graph, var: Var) -> bool:
    """Whether a sum belongs to the layer before it, as its bias."""
    call = graph.definition(var)
    return operator(call) == ADD and any(
        graph.operator(a) in (CONV2D, MATMUL) for a in call.args if is_var(a)
    )
