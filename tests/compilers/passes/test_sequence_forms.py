"""What exporters write of sequence models in several layers is the one operation it means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from lepton_compilers.front import program_from
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_sdk.program import Program
from lepton_sdk.program.reference import Reference
from lepton_sdk.program.sequence import LayerNorm

Array = npt.NDArray[Any]
X = (1, 6, 8)


def model(
    nodes: Sequence[Any],
    weights: dict[str, Array],
    y: Sequence[int],
    x: Sequence[int] = X,
    kind: int = TensorProto.FLOAT,
) -> bytes:
    graph = helper.make_graph(
        list(nodes),
        "forms",
        [helper.make_tensor_value_info("x", kind, list(x))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(y))],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]).SerializeToString())


def node(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> Any:
    return helper.make_node(kind, list(inputs), [output], name=output, **attributes)


def kinds(program: Program) -> list[str]:
    moves = ("Reshape", "Quantize", "Dequantize")
    return [type(op).__name__ for op in program.function().operations if type(op).__name__ not in moves]


def samples(n: int = 32, shape: Sequence[int] = X) -> Array:
    return np.random.default_rng(5).normal(size=(n, *shape[1:])).astype(np.float32)


def check(content: bytes, x: Array, tolerance: float = 0.03) -> tuple[Program, Program]:
    """Both programs, once float is what ONNX defines and int8 is near it; tolerance: of the largest value."""
    plain = program_from(content)
    quantised = program_from(
        content, quantization=QuantizationConfig(observer="min-max"), calibration={"x": x}
    )
    evaluator = ReferenceEvaluator(content)
    expected = np.concatenate([evaluator.run(None, {"x": sample[None]})[0] for sample in x[:8]])
    found = [np.concatenate([Reference(p).run([s[None]])[0] for s in x[:8]]) for p in (plain, quantised)]
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)
    assert np.abs(found[1] - expected).max() <= tolerance * np.abs(expected).max()
    return plain, quantised


def written_out(centred: bool, square: str) -> tuple[list[Any], dict[str, Array]]:
    rng = np.random.default_rng(1)
    weights = {
        "axis": np.array([-1]),
        "two": np.array(2.0, np.float32),
        "epsilon": np.array(1e-5, np.float32),
        "gain": rng.normal(size=8).astype(np.float32),
        "offset": rng.normal(size=8).astype(np.float32),
    }
    base = "rest" if centred else "x"
    squares = node(square, [base, "two" if square == "Pow" else base], "squares")
    rest = [node("ReduceMean", ["x", "axis"], "average"), node("Sub", ["x", "average"], "rest")]
    nodes = rest if centred else []
    nodes += [
        squares,
        node("ReduceMean", ["squares", "axis"], "variance"),
        node("Add", ["variance", "epsilon"], "above"),
        node("Sqrt", ["above"], "spread"),
        node("Div", [base, "spread"], "plain"),
        node("Mul", ["plain", "gain"], "scaled" if centred else "y"),
    ]
    return nodes + ([node("Add", ["scaled", "offset"], "y")] if centred else []), weights


@pytest.mark.parametrize("square", ["Pow", "Mul"])
@pytest.mark.parametrize("centred", [True, False])
def test_normalisation_written_out_is_one_operation(centred: bool, square: str) -> None:
    nodes, weights = written_out(centred, square)
    for program in check(model(nodes, weights, X), samples()):
        assert kinds(program) == ["LayerNorm"]
        (norm,) = (op for op in program.function().operations if isinstance(op, LayerNorm))
        assert norm.centred is centred


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Gelu", ["x"], "y")],
        [node("Sigmoid", ["x"], "s"), node("Mul", ["x", "s"], "y")],
        [node("Elu", ["x"], "y", alpha=0.7)],
        [node("LeakyRelu", ["x"], "y", alpha=0.2)],
        [node("HardSwish", ["x"], "y")],
        [node("Softplus", ["x"], "y")],
        [node("Exp", ["x"], "e"), node("Tanh", ["e"], "y")],
        [node("Abs", ["x"], "a"), node("Neg", ["a"], "n"), node("Sigmoid", ["n"], "y")],
        [node("Mul", ["x", "half"], "h"), node("Erf", ["h"], "e"), node("Add", ["e", "half"], "y")],
    ],
    ids=lambda nodes: "+".join(n.op_type for n in nodes),
)
def test_a_row_of_functions_is_one_table(nodes: list[Any]) -> None:
    content = model(nodes, {"half": np.array(0.5, np.float32)}, X)
    quantised = check(content, samples(), tolerance=0.05)[1]
    assert kinds(quantised) == ["Table"]


def test_what_others_read_ends_a_row() -> None:
    nodes = [
        node("Tanh", ["x"], "t"),
        node("Sigmoid", ["t"], "s"),
        node("Mul", ["t", "w"], "m"),
        node("Add", ["s", "m"], "y"),
    ]
    rng = np.random.default_rng(2)
    content = model(nodes, {"w": rng.normal(size=8).astype(np.float32)}, X)
    assert kinds(check(content, samples())[1]) == ["Table", "Table", "Mul", "Add"]


def test_slices_take_bytes() -> None:
    weights = {
        "a": np.array([5]),
        "b": np.array([0]),
        "axis": np.array([1]),
        "step": np.array([-2]),
        "last": np.array(-1),
    }
    nodes = [node("Slice", ["x", "a", "b", "axis", "step"], "s"), node("Gather", ["s", "last"], "y", axis=1)]
    for program in check(model(nodes, weights, (1, 8)), samples()):
        assert set(kinds(program)) == {"Slice"}


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_softmax_over_any_axis(axis: int) -> None:
    x = samples(shape=(1, 6, 8)) * 3
    quantised = check(model([node("Softmax", ["x"], "y", axis=axis)], {}, X), x, tolerance=0.02)[1]
    assert set(kinds(quantised)) - {"Transpose"} == {"Softmax"}


def test_embeddings_are_rows_of_an_int8_table() -> None:
    rng = np.random.default_rng(4)
    table = rng.normal(size=(20, 8)).astype(np.float32)
    nodes = [node("Gather", ["table", "x"], "rows", axis=0), node("Relu", ["rows"], "y")]
    content = model(nodes, {"table": table}, (1, 6, 8), x=(1, 6), kind=TensorProto.INT64)
    x = rng.integers(0, 20, (16, 6))
    quantised = check(content, x)[1]
    assert kinds(quantised) == ["Gather", "ClampTo"]
    held = [t for t in quantised.tensors.values() if t.shape == (20, 8)]
    assert [t.dtype for t in held] == ["int8"]
