"""One TFLite operator as a converter sees it: operands in Relax, options, and the form of its results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax

from lepton_compilers.passes.graph import Expr, is_constant, shape, value
from lepton_targets.errors import UnsupportedOperatorError

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


class Layer:
    """An operator of the subgraph that `converter` (TVM's, with our cures) walks.

    real(i): operand i in float32, dequantised where it is int8. raw(i): as it is stored.
    quantised(expr): a float result in the output's numbers.
    """

    def __init__(self, converter: Any, op: Any, name: str) -> None:
        self.converter = converter
        self.op = op
        self.name = name
        self.inputs = converter.get_input_tensors(op)
        self.outputs = converter.get_output_tensors(op)

    def refuse(self, reason: str) -> UnsupportedOperatorError:
        """The error for a form of this layer that can't be imported."""
        code = self.converter.get_op_code_str(self.op)
        return UnsupportedOperatorError(f"layer '{self.name}' ({code}): {reason}")

    def options(self, kind: Any) -> Any:
        """The operator's options, of the schema's class `kind`; its defaults where the file has none."""
        made = kind()
        table = self.op.BuiltinOptions()
        if table is None:
            # Absent options are all defaults: an empty table reads as such.
            return _Defaults(kind)
        made.Init(table.Bytes, table.Pos)
        return made

    def has(self, index: int) -> bool:
        """Whether the operand is there."""
        return index < len(self.inputs) and int(self.inputs[index].tensor_idx) >= 0

    def shape(self, index: int) -> Shape:
        """Extents of an operand."""
        return shape(self.raw(index))

    def result_shape(self, index: int = 0) -> Shape:
        """Extents that the file states for a result."""
        tensor = self.outputs[index].tensor
        return tuple(int(n) for n in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()

    def dtype(self, index: int) -> str:
        """Element type of an operand."""
        return str(self.converter.get_tensor_type_str(self.inputs[index].tensor.Type()))

    def result_dtype(self, index: int = 0) -> str:
        """Element type of a result."""
        return str(self.converter.get_tensor_type_str(self.outputs[index].tensor.Type()))

    def is_int8(self, index: int = 0) -> bool:
        """Whether an operand is quantised."""
        return self.inputs[index].qnn_params is not None and self.dtype(index) in ("int8", "int16", "uint8")

    def gives_int8(self, index: int = 0) -> bool:
        """Whether a result is quantised."""
        return self.outputs[index].qnn_params is not None and self.result_dtype(index) in (
            "int8",
            "int16",
            "uint8",
        )

    def numbers(self, index: int) -> tuple[float, int]:
        """Scale and zero point of a quantised operand. Refuses one with a scale a channel."""
        return self._numbers(self.inputs[index])

    def result_numbers(self, index: int = 0) -> tuple[float, int]:
        """Scale and zero point of a quantised result."""
        return self._numbers(self.outputs[index])

    def _numbers(self, tensor: Any) -> tuple[float, int]:
        scale = value(tensor.qnn_params["scale"])
        if scale.size != 1:
            raise self.refuse(f"{scale.size} scales; one for the whole tensor is supported")
        return float(scale.reshape(())), int(value(tensor.qnn_params["zero_point"]))

    def raw(self, index: int) -> Expr:
        """The operand as it is stored."""
        return self.converter.get_tensor_expr(self.inputs[index])

    def real(self, index: int) -> Expr:
        """The operand in float32."""
        expr = self.raw(index)
        if self.inputs[index].qnn_params is not None and self.dtype(index) != "float32":
            return self.emit(self.converter.dequantize(expr, self.inputs[index]))
        return expr

    def constant(self, index: int) -> Array | None:
        """The operand's stored value where the compiler knows it."""
        if not self.has(index):
            return None
        expr = self.raw(index)
        return value(expr) if is_constant(expr) else None

    def integers(self, index: int, what: str) -> tuple[int, ...]:
        """A constant list of integers. Refuses one that is computed."""
        known = self.constant(index)
        if known is None:
            raise self.refuse(f"its {what} depend on the input's values; a constant is supported")
        return tuple(int(n) for n in known.reshape(-1))

    def axes(self, index: int, rank: int) -> tuple[int, ...]:
        """Constant axes, each once, counted from the front."""
        found = self.integers(index, "axes")
        if any(not -rank <= axis < rank for axis in found):
            raise self.refuse(f"axes {found} of a rank-{rank} tensor")
        return tuple(sorted({axis % rank for axis in found}))

    def bias(self, bias: int, x: int, weight: int) -> Expr:
        """The bias as a real vector; an integer one without numbers of its own has scale sx · sw."""
        expr = self.raw(bias)
        if self.dtype(bias) == "float32":
            return expr
        if self.inputs[bias].qnn_params is not None:
            return self.real(bias)
        scale = np.float32(self.numbers(x)[0]) * value(self.inputs[weight].qnn_params["scale"])
        spread = relax.const(np.asarray(scale, np.float32))
        return self.emit(relax.op.dequantize(expr, spread, number(0, "int32"), axis=0))

    def emit(self, expr: Expr) -> Expr:
        """The expression as an operand of the next one."""
        return expr if is_constant(expr) else self.converter.bb.emit(expr)

    def activated(self, expr: Expr, code: int) -> Expr:
        """The expression behind a fused activation."""
        return self.converter.convert_fused_activation_function(expr, code)

    def quantised(self, expr: Expr, index: int = 0) -> Expr:
        """A float32 result in the numbers of the output."""
        if not self.gives_int8(index):
            return expr
        return self.converter.quantize(self.emit(expr), self.outputs[index])

    def typed(self, operation: str, arguments: Sequence[Expr], *results: tuple[Shape, str]) -> Expr:
        """A call of one of the Program's own operations that Relax has none for."""
        types = [relax.TensorType(extents, kind) for extents, kind in results]
        return relax.op.call_dps_packed(f"lepton.{operation}", relax.Tuple(list(arguments)), types)


class _Defaults:
    """Options of an operator that states none: every accessor gives zero or False."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def __getattr__(self, name: str) -> Any:
        if not hasattr(self._kind, name):
            raise AttributeError(name)
        return lambda *_: 0


def number(array: float | np.floating[Any], dtype: str = "float32") -> Expr:
    """A scalar constant."""
    return relax.const(np.asarray(array, dtype))
