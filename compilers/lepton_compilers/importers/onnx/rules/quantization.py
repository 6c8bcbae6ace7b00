"""QuantizeLinear and DequantizeLinear.

int8 with constant numbers becomes Relax's quantize and dequantize, which integerize makes integer layers of;
uint8 is held as int8 of its values less 128, exactly. All else is float arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tvm import relax

from lepton_compilers.importers.onnx.rules.casts import cast, element_kind
from lepton_compilers.importers.onnx.values import HALVES, Array, Converter, Node, Result, Value, constant
from lepton_compilers.passes.graph import Expr, dtype, shape

op = relax.op

WIDENED = {"int4": "int8", "uint4": "uint8", "int2": "int8", "uint2": "uint8"}
"""Constants of less than a byte are held in one."""


def dequantised(n: Node, x: Value, scale: Value, zero: Value | None, axis: int = 1, block: int = 0) -> Expr:
    """scale · (x − zero) in float32."""
    if x.array is not None and x.kind in WIDENED:
        x = Value(WIDENED[x.kind], array=x.array.astype(WIDENED[x.kind]))
        zero = zero if zero is None or zero.array is None else Value(x.kind, array=zero.array.astype(x.kind))
    factors = None if scale.array is None else np.asarray(scale.array, np.float32)
    offset = np.zeros(1, np.int64) if zero is None else zero.array
    if factors is not None and offset is not None and not block:
        offset = np.asarray(offset).astype(np.int64)
        if x.array is not None:
            return _known(n, x, factors, offset, axis)
        if factors.size == 1 and x.kind in ("int8", "uint8") and factors.reshape(()) > 0:
            held = x.expr if x.kind == "int8" else x.centred
            if held is None:
                held = n.emit(_centred(n, x))
            less = 128 if x.kind == "uint8" else 0
            return n.emit(
                op.dequantize(
                    held,
                    constant(factors.reshape(())),
                    constant(np.int8(int(offset.reshape(-1)[0]) - less)),
                    axis=0,
                )
            )
    return _computed(n, x, scale, zero, axis, block)


def _centred(n: Node, x: Value) -> Expr:
    from lepton_compilers.passes.own_operators import own_call

    return own_call("centre", [n.tensor(x)], [(x.shape, "int8")])


def _known(n: Node, x: Value, factors: Array, offset: Array, axis: int) -> Expr:
    """A constant: integers stay where one zero point of zero goes with them, else it is computed now."""
    values = x.array
    assert values is not None
    if x.kind == "uint8" and (offset == 128).all():
        values, offset = (values.astype(np.int16) - 128).astype(np.int8), offset - 128
    axis = axis % max(values.ndim, 1)
    if values.dtype.name in ("int8", "int32") and not offset.any() and (factors > 0).all() and values.ndim:
        single = factors.size == 1
        held = constant(values)
        zero = constant(np.zeros(() if single else factors.shape, values.dtype))
        given = constant(factors.reshape(()) if single else factors)
        return n.emit(op.dequantize(held, given, zero, axis=0 if single else axis))
    spread = [-1 if i == axis else 1 for i in range(values.ndim)]

    def stretch(numbers: Array) -> Array:
        return numbers.reshape(()) if numbers.size == 1 else numbers.reshape(spread)

    real = (values.astype(np.float64) - stretch(offset)) * stretch(factors.astype(np.float64))
    return constant(np.asarray(real, np.float32))


def _computed(n: Node, x: Value, scale: Value, zero: Value | None, axis: int, block: int) -> Expr:
    wide = n.emit(op.astype(n.tensor(x), "float32"))
    if zero is not None:
        offset = n.emit(op.astype(n.tensor(zero), "float32"))
        wide = n.emit(op.subtract(wide, _stretched(n, offset, x.shape, axis, block)))
    factor = n.tensor(scale)
    factor = factor if dtype(factor) == "float32" else n.emit(op.astype(factor, "float32"))
    return n.emit(op.multiply(wide, _stretched(n, factor, x.shape, axis, block)))


def _stretched(n: Node, numbers: Expr, extents: tuple[int, ...], axis: int, block: int) -> Expr:
    """One number for all, one a channel along `axis`, or one a block of `block` elements along it."""
    given = shape(numbers)
    if int(np.prod(given)) == 1:
        return n.emit(op.reshape(numbers, []))
    axis = axis % len(extents)
    if block:
        spread = n.emit(op.repeat(numbers, block, axis))
        if shape(spread)[axis] == extents[axis]:
            return spread
        return n.emit(op.strided_slice(spread, [axis], [0], [extents[axis]]))
    if len(given) != 1 or given[0] != extents[axis]:
        raise n.refused(f"has scales {given} for axis {axis} of {extents}")
    return n.emit(op.reshape(numbers, [-1 if i == axis else 1 for i in range(len(extents))]))


def quantised(
    n: Node, x: Expr, scale: Value, zero: Value | None, kind: str, axis: int = 1, block: int = 0
) -> Value:
    """clamp(rint(x / scale) + zero) in the integers of `kind`."""
    if kind not in ("int8", "uint8", "int16", "uint16", "int32"):
        raise n.refused(f"quantises to {kind}", "int8, uint8, int16, uint16, int32")
    factors = None if scale.array is None else np.asarray(scale.array, np.float32)
    offset = np.zeros(1, np.int64) if zero is None else zero.array
    single = factors is not None and offset is not None and factors.size == 1
    if (
        factors is not None
        and single
        and kind in ("int8", "uint8")
        and factors.reshape(()) > 0
        and dtype(x) == "float32"
    ):
        less = 128 if kind == "uint8" else 0
        at = constant(np.int8(int(np.asarray(offset).reshape(-1)[0]) - less))
        y = n.emit(op.quantize(x, constant(factors.reshape(())), at, axis=0))
        return Value(kind, expr=y) if kind == "int8" else Value(kind, centred=y)
    factor = n.tensor(scale)
    x = x if dtype(x) == "float32" else n.emit(op.astype(x, "float32"))
    factor = factor if dtype(factor) == "float32" else n.emit(op.astype(factor, "float32"))
    y = n.emit(op.round(n.emit(op.divide(x, _stretched(n, factor, shape(x), axis, block)))))
    if zero is not None:
        start = n.emit(op.astype(n.tensor(zero), "float32"))
        y = n.emit(op.add(y, _stretched(n, start, shape(x), axis, block)))
    limits = np.iinfo(kind)
    y = n.emit(
        op.clip(
            y,
            float(limits.min),
            float(np.nextafter(np.float32(limits.max), 0)) if kind == "int32" else float(limits.max),
        )
    )
    return Value(kind, expr=n.emit(op.astype(y, kind)))


def _dequantize(n: Node) -> Result:
    zero = n.value(2) if n.has(2) else None
    x = n.value()
    axis = int(n.attribute("axis", 1))
    y = dequantised(n, x, n.value(1), zero, axis, int(n.attribute("block_size", 0)))
    kind = (
        element_kind(int(n.attributes["output_dtype"])) if n.attribute("output_dtype", 0) else n.value(1).kind
    )
    return Value(kind, expr=y) if kind in HALVES else cast(n, Value("float32", expr=y), kind)


def _quantize(n: Node) -> Result:
    zero = n.value(2) if n.has(2) else None
    kind = zero.kind if zero is not None else "uint8"
    if zero is None and n.attribute("output_dtype", 0):
        kind = element_kind(int(n.attributes["output_dtype"]))
    return quantised(
        n, n[0], n.value(1), zero, kind, int(n.attribute("axis", 1)), int(n.attribute("block_size", 0))
    )


RULES: Mapping[str, Converter] = {"DequantizeLinear": _dequantize, "QuantizeLinear": _quantize}
