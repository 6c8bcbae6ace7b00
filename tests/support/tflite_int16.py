"""int16×8 TFLite networks, made of float ones by Google's AI Edge Quantizer."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import numpy.typing as npt
import pytest
from ai_edge_litert import schema_py_generated as schema

from support.tflite_cut import packed, unpacked, widened_weights

Array = npt.NDArray[Any]
KEY = "serving_default"


def quantised_16x8(content: bytes, samples: Array) -> bytes:
    """The float network `content` with int16 activations, int8 weights and int64 biases.

    samples: float32 [n, *input shape], what ranges are measured on. Skips the test without the quantizer.
    """
    pytest.importorskip("ai_edge_quantizer", reason="the extra dev is absent")
    from ai_edge_quantizer import quantizer, recipe

    signed, name = _signed(widened_weights(content))
    data = {KEY: [{name: sample} for sample in samples]}
    noise = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(noise), contextlib.redirect_stderr(noise):
        warnings.simplefilter("ignore")
        made = quantizer.Quantizer(signed, recipe.static_wi8_ai16())
        return bytes(made.quantize(made.calibrate(data)).quantized_model)


def _signed(content: bytes) -> tuple[bytes, str]:
    """The network with a signature and the operator codes that the quantizer looks for; its input's name."""
    model = unpacked(content)
    graph = model.subgraphs[0]
    for code in model.operatorCodes:
        code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = KEY, 0
    signature.inputs, signature.outputs = (_maps(graph, ends) for ends in (graph.inputs, graph.outputs))
    model.signatureDefs = [signature]
    return packed(model), graph.tensors[graph.inputs[0]].name.decode()


def _maps(graph: Any, indices: Any) -> list[Any]:
    made = []
    for index in indices:
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = graph.tensors[index].name.decode(), int(index)
        made.append(entry)
    return made
