"""The operation for everything that has no typed one: an operator under the name Relax gives it.

A compiler that has Relax lowers it from the name and the arguments alone; the reference executor has a
numpy rule by name (reference_kernels.py). Where there is none, the reference can't run the program.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lepton_sdk.program.operations import Operation, Shape
from lepton_sdk.program.tensors import TensorId, Tensors


@dataclass(frozen=True, slots=True)
class FloatKernel(Operation):
    """ys = operator(xs): float32, or plain integers and booleans that no quantisation gives a meaning.

    arguments: JSON {"args": […], "attrs": {…}, "kind": …} in a canonical form (`encoded`); kind is Relax's
    name for the object that holds the attributes, null where there is none. Among args a tensor is
    {"x": its place in xs}, several together {"tuple": […]}, extents {"shape": […]}, a number
    {"int" or "float": value, "dtype": …}; attrs hold plain values.
    """

    OUTPUTS: ClassVar[tuple[str, ...]] = ("ys",)
    operator: str
    arguments: str
    xs: tuple[TensorId, ...]
    ys: tuple[TensorId, ...]

    def shapes(self, t: Tensors) -> tuple[Shape, ...]:
        _, attributes = decoded(self.arguments, list(self.xs))
        if not isinstance(attributes, dict):
            raise ValueError(f"the attributes of '{self.operator}' are no mapping")
        return tuple(t[y].shape for y in self.ys)


def encoded(args: list[Any], attrs: Mapping[str, Any], kind: str | None) -> str:
    """The canonical text of arguments; infinities and NaN are spelled as text under "float"."""
    held = {"args": args, "attrs": attrs, "kind": kind}
    return json.dumps(held, sort_keys=True, separators=(",", ":"), allow_nan=False)


def decoded(
    arguments: str,
    xs: list[Any],
    number: Callable[[float, str], Any] = lambda value, dtype: value,
    shape: Callable[[list[int]], Any] = tuple,
    together: Callable[[list[Any]], Any] = tuple,
) -> tuple[list[Any], dict[str, Any]]:
    """Positional arguments with `xs` in the tensors' places, and the attributes.

    number, shape, together: what stands for a number, extents, several values. Raises ValueError for
    arguments of no known form.
    """

    def read(item: Any) -> Any:
        match item:
            case {"x": int(place)} if 0 <= place < len(xs):
                return xs[place]
            case {"tuple": list(items)}:
                return together([read(inner) for inner in items])
            case {"shape": list(extents)}:
                return shape([int(n) for n in extents])
            case {"int": int(value), "dtype": str(dtype)}:
                return number(value, dtype)
            case {"float": value, "dtype": str(dtype)}:
                return number(float(value), dtype)
            case None:
                return None
        raise ValueError(f"no argument has the form {item!r}")

    held = json.loads(arguments)
    return [read(item) for item in held["args"]], held["attrs"]


def float_item(value: float, dtype: str) -> dict[str, Any]:
    """A float among the arguments."""
    return {"float": value if math.isfinite(value) else str(value), "dtype": dtype}
