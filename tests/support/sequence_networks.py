"""Small sequence networks of PyTorch, trained on scikit-learn's digits (rows as steps), as ONNX files."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from torch import nn

Array = npt.NDArray[Any]
STEPS, FEATURES, CLASSES = 8, 8, 10
GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
"""ONNX's order of PyTorch's gates."""


@dataclass(frozen=True)
class Digits:
    """Two thirds to train on, the rest held out; x float32 [n, 8, 8] in 0 … 1."""

    train_x: Array
    train_y: Array
    test_x: Array
    test_y: Array


@functools.cache
def digits() -> Digits:
    """In a fixed random order."""
    held = load_digits()
    order = np.random.default_rng(0).permutation(len(held.target))
    x, y = (held.images[order] / 16).astype(np.float32), held.target[order]
    cut = 2 * len(x) // 3
    return Digits(x[:cut], y[:cut], x[cut:], y[cut:])


class Recurrent(nn.Module):
    """One recurrent layer; the last step, or the mean of both directions, goes to the classes."""

    def __init__(self, kind: str, units: int = 32, both: bool = False) -> None:
        super().__init__()
        self.kind, self.units, self.both = kind, units, both
        self.layer = getattr(nn, kind)(FEATURES, units, batch_first=True, bidirectional=both)
        self.head = nn.Linear(units * (2 if both else 1), CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits [n, 10]."""
        y = self.layer(x)[0]
        return self.head(y.mean(1) if self.both else y[:, -1])


class Transformer(nn.Module):
    """An encoder block: attention of four heads, GELU, layer normalisation before each; mean of the steps."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.embed = nn.Linear(FEATURES, width)
        self.position = nn.Parameter(0.1 * torch.randn(STEPS, width))
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits [n, 10]."""
        z = self.embed(x) + self.position
        n, steps, width = z.shape
        parts = self.qkv(self.norm1(z)).chunk(3, -1)
        q, k, v = (p.reshape(n, steps, self.heads, width // self.heads).transpose(1, 2) for p in parts)
        weights = torch.softmax(q @ k.transpose(-1, -2) / (width // self.heads) ** 0.5, -1)
        z = z + self.out((weights @ v).transpose(1, 2).reshape(n, steps, width))
        z = z + self.down(nn.functional.gelu(self.up(self.norm2(z))))
        return self.head(self.norm3(z).mean(1))


def trained(network: nn.Module, epochs: int, rate: float) -> nn.Module:
    """The network after so many passes over the training digits, in evaluation mode."""
    held = digits()
    x, y = torch.tensor(held.train_x), torch.tensor(held.train_y)
    optimiser = torch.optim.Adam(network.parameters(), rate)
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(x[part]), y[part]).backward()
            optimiser.step()
    return network.eval()


def logits(network: nn.Module, x: Array) -> Array:
    """What PyTorch computes, [n, 10]."""
    with torch.no_grad():
        return np.asarray(network(torch.tensor(x)).numpy())


def _state(network: nn.Module) -> dict[str, Array]:
    return {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}


def _model(nodes: list[Any], weights: Mapping[str, Array]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, STEPS, FEATURES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, CLASSES])],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def recurrent_onnx(network: Recurrent) -> bytes:
    """The network with ONNX's own recurrent operator."""
    held, gates = _state(network), GATES[network.kind]

    def in_order(array: Array) -> Array:
        return np.concatenate([array.reshape(len(gates), network.units, -1)[g] for g in gates]).reshape(
            array.shape
        )

    ends = ("", "_reverse") if network.both else ("",)
    weights = {
        "W": np.stack([in_order(held[f"layer.weight_ih_l0{end}"]) for end in ends]),
        "R": np.stack([in_order(held[f"layer.weight_hh_l0{end}"]) for end in ends]),
        "B": np.stack(
            [
                np.concatenate([in_order(held[f"layer.bias_{part}_l0{end}"]) for part in ("ih", "hh")])
                for end in ends
            ]
        ),
        "head_w": held["head.weight"],
        "head_b": held["head.bias"],
    }
    attributes: dict[str, Any] = {"hidden_size": network.units}
    attributes["direction"] = "bidirectional" if network.both else "forward"
    if network.kind == "GRU":
        attributes["linear_before_reset"] = 1
    node = helper.make_node
    nodes = [node("Transpose", ["x"], ["major"], name="major", perm=[1, 0, 2])]
    if network.both:
        weights |= {"shape": np.array([1, STEPS, 2 * network.units]), "axis": np.array([1])}
        nodes += [
            node(network.kind, ["major", "W", "R", "B"], ["states"], name="layer", **attributes),
            node("Transpose", ["states"], ["turned"], name="turned", perm=[2, 0, 1, 3]),
            node("Reshape", ["turned", "shape"], ["sequence"], name="sequence"),
            node("ReduceMean", ["sequence", "axis"], ["last"], name="mean", keepdims=0),
        ]
    else:
        weights |= {"axis": np.array([0])}
        nodes += [
            node(network.kind, ["major", "W", "R", "B"], ["", "final"], name="layer", **attributes),
            node("Squeeze", ["final", "axis"], ["last"], name="last"),
        ]
    nodes.append(node("Gemm", ["last", "head_w", "head_b"], ["y"], name="head", transB=1))
    return _model(nodes, weights)


class _Graph:
    """Nodes and weights of an ONNX file while it is written; every node is named for its result."""

    def __init__(self, state: Mapping[str, Array]) -> None:
        self.state = state
        self.nodes: list[Any] = []
        self.weights: dict[str, Array] = {}

    def constant(self, name: str, array: Array) -> str:
        self.weights[name] = array
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def linear(self, x: str, layer: str, output: str) -> str:
        weight = self.constant(f"{layer}.weight", self.state[f"{layer}.weight"].T)
        bias = self.constant(f"{layer}.bias", self.state[f"{layer}.bias"])
        return self.node("Add", [self.node("MatMul", [x, weight], f"{output}_product"), bias], output)

    def norm(self, x: str, layer: str) -> str:
        parts = [self.constant(f"{layer}.{p}", self.state[f"{layer}.{p}"]) for p in ("weight", "bias")]
        return self.node("LayerNormalization", [x, *parts], layer, axis=-1, epsilon=1e-5)

    def shaped(self, x: str, extents: list[int], output: str) -> str:
        return self.node("Reshape", [x, self.constant(f"{output}_shape", np.array(extents))], output)


def transformer_onnx(network: Transformer) -> bytes:
    """The network in ONNX's operators."""
    graph, heads = _Graph(_state(network)), network.heads
    width = network.embed.out_features
    position = graph.constant("position", graph.state["position"])
    z = graph.node("Add", [graph.linear("x", "embed", "embedded"), position], "placed")
    qkv = graph.linear(graph.norm(z, "norm1"), "qkv", "qkv")
    graph.nodes.append(helper.make_node("Split", [qkv], ["q", "k", "v"], name="split", axis=2, num_outputs=3))
    turned = {}
    for name, perm in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        parts = graph.shaped(name, [1, STEPS, heads, width // heads], f"{name}_heads")
        turned[name] = graph.node("Transpose", [parts], f"{name}_turned", perm=perm)
    root = graph.constant("root", np.array((width // heads) ** 0.5, np.float32))
    scores = graph.node("Div", [graph.node("MatMul", [turned["q"], turned["k"]], "products"), root], "scores")
    attended = graph.node(
        "MatMul", [graph.node("Softmax", [scores], "weights", axis=-1), turned["v"]], "mixed"
    )
    attended = graph.node("Transpose", [attended], "mixed_turned", perm=[0, 2, 1, 3])
    attended = graph.shaped(attended, [1, STEPS, width], "attended")
    z = graph.node("Add", [z, graph.linear(attended, "out", "projected")], "first_sum")
    wide = graph.node("Gelu", [graph.linear(graph.norm(z, "norm2"), "up", "wide")], "gelu")
    z = graph.node("Add", [z, graph.linear(wide, "down", "narrow")], "second_sum")
    axis = graph.constant("axis", np.array([1]))
    mean = graph.node("ReduceMean", [graph.norm(z, "norm3"), axis], "mean", keepdims=0)
    graph.linear(mean, "head", "y")
    return _model(graph.nodes, graph.weights)
