"""What a name in an ONNX graph stands for while it is imported, and what a converter sees of a node."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from tvm import relax

from lepton_compilers.passes.graph import Expr, dtype, is_constant, is_var, shape
from lepton_compilers.passes.own_operators import own_call
from lepton_compilers.peak import checked_size
from lepton_sdk.program.tensors import DTYPES
from lepton_targets.errors import UnsupportedOperatorError

Array = npt.NDArray[Any]

HALVES = ("float16", "bfloat16")
"""Computed in float32; the type counts at the model's interface and in casts."""


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor: known (`array`, in the source's own type) or computed (`expr`).

    kind: the source's element type by numpy's name; a half is carried in float32. centred: of uint8 that
    was quantised here, the int8 tensor of its values less 128.
    """

    kind: str
    array: Array | None = None
    expr: Expr | None = None
    centred: Expr | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents, all known."""
        if self.array is not None:
            return tuple(self.array.shape)
        return shape(self.expr if self.expr is not None else self.centred)


Scope = dict[str, Value | None]
"""Values by name; None for what depends on a node that nothing converts."""


def known_value(array: Array) -> Value:
    """A value that is known."""
    return Value(array.dtype.name, array=array)


def constant(array: Any) -> Expr:
    """An array as a Relax constant of its own type; Relax would make 64 bits 32."""
    held = np.ascontiguousarray(array)
    return relax.const(held.reshape(np.shape(array)), held.dtype.name)


def carrier(kind: str) -> str:
    """The type in which values of an element type are computed."""
    return "float32" if kind in HALVES else kind


Result = Any
"""What a converter gives: an expression, an array that is known, a Value, or a tuple of those."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node whose inputs are imported. Converters read it and emit Relax calls through it."""

    name: str
    operator: str
    opset: int
    inputs: tuple[Value | None, ...]
    attributes: Mapping[str, Any]
    wanted: tuple[bool, ...]
    """Which results something reads, by place."""
    builder: Any

    def has(self, place: int) -> bool:
        """Whether an optional input is given."""
        return place < len(self.inputs) and self.inputs[place] is not None

    def value(self, place: int = 0) -> Value:
        """An input. Raises UnsupportedOperatorError where it is left out."""
        held = self.inputs[place] if place < len(self.inputs) else None
        if held is None:
            raise self.refused(f"leaves out its input {place}")
        return held

    def __getitem__(self, place: int) -> Expr:
        """An input as a Relax expression of its carrier type."""
        return self.tensor(self.value(place))

    def shape(self, place: int = 0) -> tuple[int, ...]:
        """Extents of an input."""
        return self.value(place).shape

    def kind(self, place: int = 0) -> str:
        """Carrier type of an input."""
        return carrier(self.value(place).kind)

    def tensor(self, value: Value) -> Expr:
        """A value as a Relax expression of its carrier type."""
        if value.array is not None:
            kind = carrier(value.kind)
            if kind not in DTYPES:
                raise self.refused(f"reads {kind}, an element type no target computes")
            return constant(value.array.astype(kind, copy=False))
        if value.expr is None:
            return self.emit(own_call("centre", [value.centred], [(value.shape, "uint8")]))
        return value.expr

    def known(self, place: int, what: str) -> Array:
        """A constant input. Raises UnsupportedOperatorError where it is computed."""
        array = self.value(place).array
        if array is None:
            raise self.refused(f"computes its {what} from the model's input", f"constant {what}")
        return array

    def numbers(self, place: int, attribute: str) -> list[int] | None:
        """Integers from a constant input (later opsets) or from an attribute; None where neither is there."""
        if self.has(place):
            return [int(n) for n in self.known(place, attribute).reshape(-1)]
        held = self.attributes.get(attribute)
        return None if held is None else [int(n) for n in held]

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute, or its default."""
        return self.attributes.get(name, default)

    def axis(self, default: int = 0, rank: int | None = None, name: str = "axis") -> int:
        """The attribute `axis`, counted from the front. Raises UnsupportedOperatorError beyond the rank."""
        rank = len(self.shape()) if rank is None else rank
        axis = int(self.attributes.get(name, default))
        if not -rank <= axis < rank:
            raise self.refused(f"has {name} {axis} on {rank} axes")
        return axis % rank

    def emit(self, expr: Expr) -> Expr:
        """Bind a step on the way to the result; what is bound or constant needs no binding.

        Only the results bear the layer's name; naming.py names the steps after it.
        """
        return expr if is_var(expr) or is_constant(expr) else self.builder.emit(expr)

    def sized(self, extents: Sequence[int], kind: str = "float32") -> list[int]:
        """Extents of a result that the node is about to make. Raises BadInputError beyond memory."""
        checked_size(f"layer '{self.name}'", extents, kind)
        return [int(n) for n in extents]

    def scalar(self, number: float, kind: str) -> Expr:
        """A constant of no axes."""
        return constant(np.array(number).astype(kind))

    def own(
        self, name: str, xs: Sequence[Expr], extents: Sequence[int], kind: str, **attributes: Any
    ) -> Expr:
        """An operator of our own with one result."""
        return self.emit(own_call(name, xs, [(self.sized(extents, kind), kind)], **attributes))

    def refused(self, found: str, *accepted: str) -> UnsupportedOperatorError:
        """The error that says what the layer has and what is supported."""
        supported = [f"supported: {', '.join(accepted)}"] if accepted else []
        return UnsupportedOperatorError(f"layer '{self.name}' ({self.operator}) {found}", *supported)

    def on(self, *inputs: Expr | Value, operator: str = "", **attributes: Any) -> Node:
        """The same layer with other inputs and attributes, to be converted by another operator's rule."""
        held = tuple(x if isinstance(x, Value) else Value(dtype(x), expr=x) for x in inputs)
        return dataclasses.replace(
            self, inputs=held, attributes=attributes, operator=operator or self.operator, wanted=(True,)
        )


Converter = Callable[[Node], Result]


def attribute_values(node: Any) -> dict[str, Any]:
    """A node's attributes as plain values: text as str, tensors as protobuf messages."""
    held = {}
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode()
        elif isinstance(value, list) and value and isinstance(value[0], bytes):
            value = [item.decode() for item in value]
        held[attribute.name] = value
    return held
