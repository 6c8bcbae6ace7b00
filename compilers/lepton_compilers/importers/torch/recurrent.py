"""PyTorch's LSTM and GRU as calls of whole sequences, through the converter of ONNX's recurrent layers.

PyTorch keeps gates as i, f, g, o and r, z, n; ONNX as i, o, f, c and z, r, h, the reset after its product.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax

from lepton_compilers.importers.onnx.recurrent import recurrent_layer
from lepton_compilers.importers.torch.layers import Node, Rule, TorchLayers
from lepton_compilers.importers.torch.operators import RECURRENT
from lepton_compilers.passes.graph import Expr, is_constant, shape, value

Array = npt.NDArray[Any]

GATES: Mapping[str, tuple[int, ...]] = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}
"""Where PyTorch keeps the gates of ONNX's order."""


def kept_whole(node: Node) -> bool:
    """Whether an lstm or gru is one that `recurrent` takes: no packed sequence, no projection."""
    name = node.target.__name__
    if name not in RECURRENT:
        return False
    states, parameters = node.args[1], node.args[2]
    hidden = (states[0] if name == "lstm.input" else states).meta["val"].shape[-1]
    gates = 4 if name == "lstm.input" else 3
    return bool(parameters[0].meta["val"].shape[0] == gates * hidden)


def recurrent(kind: str, layers: TorchLayers, node: Node) -> tuple[Expr, ...]:
    """lstm and gru: the outputs, then the last states of every layer and direction."""
    x, states, parameters, biased, depth, _, _, both_ways, batch_first = layers.retrieve_args(node)
    if len(shape(x)) != 3:
        raise layers.refused(node, f"reads {shape(x)} without a batch; 3 axes are supported")
    firsts = list(states) if kind == "LSTM" else [states]
    ways, each = 1 + bool(both_ways), 4 if biased else 2
    x = layers.emit(relax.op.permute_dims(x, [1, 0, 2])) if batch_first else x
    lasts: list[list[Expr]] = []
    for level in range(depth):
        held = parameters[level * ways * each : (level + 1) * ways * each]
        if not all(map(is_constant, held)):
            raise layers.refused(node, "computes its weights; constant ones are supported")
        directions = [held[way * each : (way + 1) * each] for way in range(ways)]
        weights = [
            relax.const(np.stack([_ordered(kind, value(d[part])) for d in directions])) for part in (0, 1)
        ]
        bias = None
        if biased:
            rows = [np.concatenate([_ordered(kind, value(d[part])) for part in (2, 3)]) for d in directions]
            bias = relax.const(np.stack(rows))
        first = [_of_level(layers, state, level * ways, ways) for state in firsts]
        y, *last = recurrent_layer(
            kind,
            layers.current,
            [x, *weights, bias, None, *first],
            {"direction": "bidirectional" if both_ways else "forward", "linear_before_reset": 1},
            layers.emit,
        )
        lasts.append(last)
        steps, _, batch, units = shape(y)
        y = layers.emit(relax.op.permute_dims(y, [0, 2, 1, 3])) if both_ways else y
        x = layers.emit(relax.op.reshape(y, [steps, batch, ways * units]))
    if batch_first:
        x = layers.emit(relax.op.permute_dims(x, [1, 0, 2]))
    return (x, *(_of_all(layers, [last[i] for last in lasts]) for i in range(len(firsts))))


def _ordered(kind: str, array: Array) -> Array:
    """Rows in ONNX's order of gates."""
    blocks = array.reshape(len(GATES[kind]), -1, *array.shape[1:])[list(GATES[kind])]
    return np.ascontiguousarray(blocks.reshape(array.shape))


def _of_level(layers: TorchLayers, states: Expr, start: int, ways: int) -> Expr:
    """One level's first states [D, N, H] of all levels' [levels · D, N, H]."""
    if is_constant(states):
        return relax.const(np.ascontiguousarray(value(states)[start : start + ways]))
    return layers.emit(relax.op.strided_slice(states, [0], [start], [start + ways]))


def _of_all(layers: TorchLayers, parts: list[Expr]) -> Expr:
    return parts[0] if len(parts) == 1 else layers.emit(relax.op.concat(parts, 0))


RULES: Mapping[str, Rule] = {
    "lstm.input": partial(recurrent, "LSTM"),
    "gru.input": partial(recurrent, "GRU"),
}
