"""Fourier transforms as products with constant matrices; determinants."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tvm import relax

from lepton_compilers.importers.onnx.rules.images import along_axis
from lepton_compilers.importers.onnx.values import Converter, Node, Result, constant
from lepton_compilers.passes.graph import Expr, shape
from lepton_targets.errors import BadInputError

op = relax.op

LONGEST = 4096
"""Of a transform: its matrix has as many rows and columns."""


def _transformed(n: Node, x: Expr, axis: int, length: int, inverse: bool, onesided: bool) -> Expr:
    """Along an axis of [..., 1 or 2]; a shorter signal is padded with zeros, a longer one cut."""
    if not 1 <= length <= LONGEST:
        raise n.refused(f"transforms {length} elements", f"1 to {LONGEST}")
    last = len(shape(x)) - 1
    held = min(length, shape(x)[axis])
    if held < shape(x)[axis]:
        x = n.emit(op.strided_slice(x, [axis], [0], [held]))
    rows = length // 2 + 1 if onesided and not inverse else length
    complex_input = shape(x)[last] == 2
    if inverse and onesided and complex_input:
        # The half that is left out mirrors the one at hand.
        rows, columns = length, held
    else:
        columns = held
    angle = 2 * np.pi * np.outer(np.arange(rows), np.arange(columns)) / length
    cosine, sine = np.cos(angle), np.sin(angle) * (1 if inverse else -1)
    if inverse:
        cosine, sine = cosine / length, sine / length
    real = n.emit(op.strided_slice(x, [last], [0], [1]))
    if inverse and onesided and complex_input:
        weight = np.full(columns, 2.0)
        weight[0] = 1.0
        if length % 2 == 0 and columns == length // 2 + 1:
            weight[-1] = 1.0
        imaginary = n.emit(op.strided_slice(x, [last], [1], [2]))
        return n.emit(
            op.subtract(
                along_axis(n, cosine * weight, real, axis), along_axis(n, sine * weight, imaginary, axis)
            )
        )
    parts = [along_axis(n, cosine, real, axis), along_axis(n, sine, real, axis)]
    if complex_input:
        imaginary = n.emit(op.strided_slice(x, [last], [1], [2]))
        parts[0] = n.emit(op.subtract(parts[0], along_axis(n, sine, imaginary, axis)))
        parts[1] = n.emit(op.add(parts[1], along_axis(n, cosine, imaginary, axis)))
    return n.emit(op.concat(parts, last))


def _fourier(n: Node) -> Result:
    rank = len(n.shape())
    if n.opset >= 20:
        axis = int(n.known(2, "axis").reshape(-1)[0]) if n.has(2) else -2
    else:
        axis = int(n.attribute("axis", 1))
    axis = axis % rank
    if axis == rank - 1 or n.shape()[-1] not in (1, 2):
        raise BadInputError(f"layer '{n.name}' (DFT) transforms axis {axis} of {n.shape()}")
    inverse, onesided = bool(n.attribute("inverse", 0)), bool(n.attribute("onesided", 0))
    length = int(n.known(1, "length").reshape(-1)[0]) if n.has(1) else n.shape()[axis]
    if inverse and onesided and not n.has(1):
        length = 2 * (n.shape()[axis] - 1)
    return _transformed(n, n[0], axis, length, inverse, onesided)


def _short_time_fourier(n: Node) -> Result:
    """[batch, frames, bins, 2] of a signal [batch, length, 1 or 2]."""
    step = int(n.known(1, "frame step").reshape(-1)[0])
    if n.has(3):
        length = int(n.known(3, "frame length").reshape(-1)[0])
    else:
        length = n.shape(2)[0]
    batch, total, parts = n.shape() if len(n.shape()) == 3 else (*n.shape(), 1)
    if step < 1 or not 1 <= length <= total:
        raise BadInputError(f"layer '{n.name}' (STFT) cuts {total} into frames of {length} by {step}")
    frames = (total - length) // step + 1
    n.sized([batch, frames, length, 2], n.kind())
    places = np.arange(frames)[:, None] * step + np.arange(length)
    x = n.emit(op.reshape(n[0], [batch, total, parts]))
    cut = n.emit(op.take(x, constant(places.astype(np.int64)), axis=1, mode="clip"))
    if n.has(2):
        cut = n.emit(op.multiply(cut, n.emit(op.reshape(n[2], [1, 1, length, 1]))))
    return _transformed(n, cut, 2, length, False, bool(n.attribute("onesided", 1)))


def _determinant(n: Node) -> Result:
    extents = n.shape()
    if len(extents) < 2 or extents[-1] != extents[-2] or n.kind() not in ("float32", "float64"):
        raise n.refused(f"takes the determinant of {extents}", "square matrices of float32 or float64")
    return n.own("determinant", [n[0]], extents[:-2], n.kind())


RULES: Mapping[str, Converter] = {"DFT": _fourier, "Det": _determinant, "STFT": _short_time_fourier}
