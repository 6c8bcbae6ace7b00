"""TFLite networks of one layer: the importer's forms, one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from support.tflite_network import Graph, Node, Spec, constant, network

__all__ = ["Spec", "constant", "layer"]


def layer(
    builtin: int,
    options: Any,
    options_type: int,
    inputs: Sequence[Spec | None],
    output: Spec | Sequence[Spec],
    version: int = 1,
) -> bytes:
    """The model whose only operator reads `inputs` and writes `output`, or several outputs.

    The model's inputs are those that hold no value.
    """
    outputs = [output] if isinstance(output, Spec) else list(output)
    fed = [spec for spec in inputs if spec is not None and spec.value is None]
    node = Node(builtin, inputs, outputs, options, options_type, version)
    return network(Graph(fed, outputs, [node]))
