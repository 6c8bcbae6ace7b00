"""What the compiler knows of a tensor through any chain of moves: a constant, its scales, its parameter."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_compilers.passes.fold_constants import permute_axes
from lepton_compilers.passes.graph import (
    ADD,
    DEQUANTIZE,
    PERMUTE,
    RESHAPE,
    Expr,
    Graph,
    is_constant,
    operator,
    shape,
    value,
)
from lepton_targets.errors import BadInputError, UnsupportedOperatorError

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Known:
    """A tensor whose first value is known.

    values: float32, or the integers of a dequantised constant; then `scales` (float32, of the same shape)
    and `zero` say what they stand for. parameter: the trainable parameter it is; then `places` (of the
    same shape) holds the flat index of every element in the source's array of shape `source_shape`.
    """

    values: Array
    scales: Array | None = None
    zero: int = 0
    parameter: str | None = None
    places: Array | None = None
    source_shape: tuple[int, ...] = ()

    def moved(self, move: Callable[[Array], Array]) -> Known:
        """The same elements in another arrangement."""
        return Known(
            np.ascontiguousarray(move(self.values)),
            None if self.scales is None else move(self.scales),
            self.zero,
            self.parameter,
            None if self.places is None else move(self.places),
            self.source_shape,
        )

    @property
    def real(self) -> Array:
        """Real values, float64."""
        if self.scales is None:
            return self.values.astype(np.float64)
        return (self.values.astype(np.float64) - self.zero) * self.scales

    def channel_scales(self, axis: int) -> Array | None:
        """One scale a channel along `axis`, or None where scales differ within a channel."""
        if self.scales is None:
            return None
        rows = np.moveaxis(self.scales, axis, 0).reshape(self.scales.shape[axis], -1)
        return rows[:, 0].copy() if (rows == rows[:, :1]).all() else None

    @property
    def source_axes(self) -> tuple[int, ...] | None:
        """Axes by which numpy.transpose gives the source's order (extents of one aside); None for none."""
        if self.places is None:
            return None
        flat = np.arange(self.places.size)
        fitting = [
            axes
            for axes in itertools.permutations(range(self.places.ndim))
            if np.array_equal(self.places.transpose(axes).reshape(-1), flat)
        ]
        if not fitting:
            raise UnsupportedOperatorError(
                f"parameter '{self.parameter}' is used in an order no transpose gives back"
            )
        # Where extents of one leave a choice, the source's own shape decides.
        best = next((a for a in fitting if self.places.transpose(a).shape == self.source_shape), fitting[0])
        return None if best == tuple(range(len(best))) else best


def checked_scales(name: str, scales: Array) -> Array:
    """The scales as float32. Raises BadInputError unless each is a positive normal number."""
    held = scales.astype(np.float32)
    wrong = held[~((held >= np.finfo(np.float32).tiny) & (held < np.inf))]
    if wrong.size:
        raise BadInputError(
            f"layer '{name}' has the scale {float(wrong[0]):g}; the model is damaged",
            "a scale is a positive number of float32's normal range",
        )
    return held


def known(graph: Graph, parameters: Mapping[str, Array], expr: Expr) -> Known | None:
    """What is known of an expression, read through reshape, permute and dequantize; None where nothing."""
    expr = graph.resolve(expr)
    if is_constant(expr):
        return Known(value(expr))
    definition = graph.definition(expr)
    if definition is None:
        name = str(getattr(expr, "name", ""))
        if expr not in graph.parameters or name not in parameters:
            return None
        array = parameters[name]
        places = np.arange(array.size).reshape(array.shape)
        return Known(array, parameter=name, places=places, source_shape=array.shape)
    name = operator(definition) or ""
    if name == RESHAPE:
        inner = known(graph, parameters, definition.args[0])
        return inner and inner.moved(lambda array: array.reshape(shape(expr)))
    if name == PERMUTE:
        inner = known(graph, parameters, definition.args[0])
        return inner and inner.moved(lambda array: array.transpose(permute_axes(definition)))
    if name == ADD:
        return _wide(*(known(graph, parameters, part) for part in definition.args))
    if name == DEQUANTIZE and all(is_constant(a) for a in definition.args[1:]):
        inner = known(graph, parameters, definition.args[0])
        if inner is None or inner.scales is not None or inner.parameter is not None:
            return None
        zeros = np.unique(value(definition.args[2]))
        if zeros.size != 1:
            return None
        scales = checked_scales(str(getattr(expr, "name", "")), value(definition.args[1])).reshape(-1)
        extents = [1] * inner.values.ndim
        if scales.size > 1:
            extents[int(definition.attrs.axis)] = scales.size
        spread = np.broadcast_to(scales.reshape(extents), inner.values.shape)
        return Known(inner.values, spread, int(zeros[0]))
    return None


def _wide(high: Known | None, low: Known | None) -> Known | None:
    """int64 from two dequantised int32 whose scales are 2^24 apart, as the TFLite importer spells them."""
    if high is None or low is None or high.scales is None or low.scales is None:
        return None
    if not np.array_equal(high.scales, low.scales * np.float32(2**24)) or high.zero or low.zero:
        return None
    values = (high.values.astype(np.int64) << 24) + low.values
    return Known(values, low.scales)
