"""UNIDIRECTIONAL_SEQUENCE_LSTM: a whole sequence, its states living between calls as LiteRT's do."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import tflite
from tvm import relax

from lepton_compilers.importers.tflite.layer import Layer
from lepton_compilers.importers.tflite.moves import sliced
from lepton_compilers.importers.tflite.states import States
from lepton_compilers.passes.graph import Expr, shape, value

INPUT_WEIGHTS, RECURRENT_WEIGHTS, BIASES = (1, 2, 3, 4), (5, 6, 7, 8), (12, 13, 14, 15)
"""Operands by gate: input, forget, cell, output."""
HIDDEN, CELL = 18, 19
EXTRAS = {
    **dict.fromkeys((9, 10, 11), "peephole weights"),
    **dict.fromkeys((16, 17), "a projection"),
    **dict.fromkeys((20, 21, 22, 23), "layer normalisation"),
}


def sequence_lstm(layer: Layer, states: States) -> tuple[Expr, ...]:
    """The hidden state after every step; both states start where the last call ended."""
    options = layer.options(tflite.UnidirectionalSequenceLSTMOptions)
    for index, what in EXTRAS.items():
        if layer.has(index):
            raise layer.refuse(f"{what}; the plain cell is supported")
    if not layer.has(INPUT_WEIGHTS[0]):
        raise layer.refuse("an input gate coupled to the forget gate; four gates are supported")
    if float(options.CellClip()) or float(options.ProjClip()):
        raise layer.refuse("clipped states; write the layer without cell_clip and proj_clip")
    if options.FusedActivationFunction() != tflite.ActivationFunctionType.TANH:
        raise layer.refuse(f"activation {options.FusedActivationFunction()}; tanh is supported")
    x, major = layer.real(0), bool(options.TimeMajor())
    if not major:
        x = layer.emit(relax.op.permute_dims(x, [1, 0, 2]))
    steps, batch, _ = shape(x)
    weight, recurrent = _gates(layer, INPUT_WEIGHTS), _gates(layer, RECURRENT_WEIGHTS)
    bias = _gates(layer, BIASES)
    units = recurrent.shape[1]
    keys = [layer.converter.tensor_name(layer.inputs[index].tensor_idx) for index in (HIDDEN, CELL)]
    first = [states.at(key, (batch, units), "float32") for key in keys]
    arguments = (x, relax.const(weight), relax.const(recurrent), relax.const(bias), *first)
    results = ((steps, batch, units), "float32"), ((batch, units), "float32")
    found = layer.emit(layer.typed("lstm", arguments, *results))
    y, cell = (layer.emit(relax.TupleGetItem(found, place)) for place in (0, 1))
    last = layer.emit(sliced(y, [steps - 1, 0, 0], [steps, batch, units], [1, 1, 1]))
    states.now[keys[0]] = layer.emit(relax.op.reshape(last, [batch, units]))
    states.now[keys[1]] = cell
    if not major:
        y = layer.emit(relax.op.permute_dims(y, [1, 0, 2]))
    return (layer.quantised(y),)


def _gates(layer: Layer, operands: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """The four gates' constants on top of one another, as reals; an absent bias is zero."""
    parts = [_real(layer, index) for index in operands if layer.has(index)]
    if len(parts) != len(operands):
        raise layer.refuse("a gate without weights or bias; all four are needed")
    return np.ascontiguousarray(np.concatenate(parts).astype(np.float32))


def _real(layer: Layer, index: int) -> npt.NDArray[np.float32]:
    known, held = layer.constant(index), layer.inputs[index].qnn_params
    if known is None:
        raise layer.refuse("weights that depend on the input's values")
    real: npt.NDArray[np.float32] = known.astype(np.float32)
    if held is not None and layer.dtype(index) != "float32":
        scale = value(held["scale"]).astype(np.float32).reshape(-1, *[1] * (known.ndim - 1))
        real = (real - np.float32(int(value(held["zero_point"])))) * scale
    return real
