"""Kernels of our own behind ONNX's operators, on hostile inputs: places outside, NaN, infinities, halves."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from lepton_compilers.backends import backend_for
from lepton_compilers.front import program_from
from lepton_sdk.program.reference import Reference
from lepton_sdk.program.reference_own_kernels import OWN_KERNELS
from lepton_targets import get_target
from support.native import Native

Array = npt.NDArray[Any]
HOSTILE = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e9, -1e9, 0.0, -0.0, 0.5], np.float32)


def model(node: Any, inputs: dict[str, Array], constants: dict[str, Array], kind: int) -> bytes:
    """A model of one node; what it says of its result's shape counts for nothing."""
    kinds = {name: helper.np_dtype_to_tensor_dtype(a.dtype) for name, a in inputs.items()}
    graph = helper.make_graph(
        [node],
        "hostile",
        [helper.make_tensor_value_info(name, kinds[name], a.shape) for name, a in inputs.items()],
        [helper.make_tensor_value_info("y", kind, ["N"])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opset = [helper.make_opsetid("", 22)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString())


def both(node: Any, inputs: dict[str, Array], constants: dict[str, Array], kind: int) -> tuple[Array, Array]:
    """The native result, between guard bytes, and the reference's."""
    program = program_from(model(node, inputs, constants, kind))
    row = get_target("x86-64")
    native = Native(program, backend_for(row).lower(program, row))
    given_arrays = list(inputs.values())
    return native.run(given_arrays)[0], Reference(program).run(given_arrays)[0]


def agree(node: Any, inputs: dict[str, Array], constants: dict[str, Array], kind: int) -> None:
    found, expected = both(node, inputs, constants, kind)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_a_grid_may_point_anywhere(mode: str, padding: str) -> None:
    rng = np.random.default_rng(0)
    grid = rng.uniform(-3, 3, (1, 6, 5, 2)).astype(np.float32)
    grid.reshape(-1)[: HOSTILE.size] = HOSTILE
    node = helper.make_node("GridSample", ["x", "g"], ["y"], mode=mode, padding_mode=padding)
    x = rng.normal(size=(1, 2, 4, 5)).astype(np.float32)
    found, expected = both(node, {"x": x, "g": grid}, {}, TensorProto.FLOAT)
    # Where the grid is no number of a map's size, only that it stays inside of the map is promised.
    sane = (np.abs(grid) < 100).all(axis=-1)[:, None]
    np.testing.assert_allclose(
        np.where(sane, found, 0), np.where(sane, expected, 0), rtol=1e-4, atol=1e-4, equal_nan=True
    )


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_regions_may_lie_anywhere(mode: str) -> None:
    rng = np.random.default_rng(1)
    regions = np.array([[0, 0, 3, 3], [-50, -50, 60, 60], [2, 2, 1, 1], [100, 100, 200, 200]], np.float32)
    places = np.array([0, 7, -7, 1], np.int64)
    node = helper.make_node("RoiAlign", ["x", "r", "b"], ["y"], output_height=2, output_width=2, mode=mode)
    x = rng.normal(size=(2, 2, 5, 6)).astype(np.float32)
    agree(node, {"x": x, "r": regions, "b": places}, {}, TensorProto.FLOAT)


@pytest.mark.parametrize("operator", ["Gather", "GatherElements", "ScatterElements"])
def test_indices_beyond_the_tensor_are_held_inside(operator: str) -> None:
    index = np.array([[0, 99, -99], [2, -1, 2**40]], np.int64)
    inputs = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "i": index}
    names = ["x", "i"]
    if operator == "ScatterElements":
        inputs["u"] = np.ones((2, 3), np.float32)
        names.append("u")
    agree(helper.make_node(operator, names, ["y"], axis=1), inputs, {}, TensorProto.FLOAT)


def test_boxes_of_no_size_and_scores_that_are_no_numbers_are_chosen_alike() -> None:
    rng = np.random.default_rng(2)
    boxes = rng.uniform(0, 1, (1, 12, 4)).astype(np.float32)
    boxes[0, :3] = [[0, 0, 0, 0], [np.nan] * 4, [np.inf, 0, 1, 1]]
    scores = rng.uniform(0, 1, (1, 2, 12)).astype(np.float32)
    scores[0, 0, :4] = [np.nan, np.inf, -np.inf, 0.5]
    constants = {
        "k": np.array([5], np.int64),
        "o": np.array([0.3], np.float32),
        "s": np.array([0.1], np.float32),
    }
    node = helper.make_node("NonMaxSuppression", ["b", "c", "k", "o", "s"], ["y"])
    found, expected = both(node, {"b": boxes, "c": scores}, constants, TensorProto.INT64)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", [np.float32, np.int8, np.int64, np.uint16])
@pytest.mark.parametrize("largest", [0, 1])
def test_the_order_is_stable_of_every_type(kind: type, largest: int) -> None:
    x = np.random.default_rng(3).integers(0, 5, (3, 9, 2)).astype(kind)
    if kind is np.float32:
        x[0, :3, 0] = [np.inf, -np.inf, -0.0]
    node = helper.make_node("TopK", ["x", "k"], ["v", "y"], axis=1, largest=largest)
    found, expected = both(node, {"x": x}, {"k": np.array([6], np.int64)}, TensorProto.INT64)
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=8))
def test_bfloat16_is_the_nearest(patterns: list[int]) -> None:
    import ml_dtypes

    x = np.array(patterns, np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        expected = x.astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(OWN_KERNELS["lepton.round_bfloat16"](x), expected)


def test_halves_are_numpys_for_every_pattern_and_its_neighbours() -> None:
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    cast = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)
    found, _ = both(cast, {"x": halves}, {}, TensorProto.FLOAT)
    np.testing.assert_array_equal(found, halves.astype(np.float32))
    bits = halves.astype(np.float32).view(np.uint32)
    near = np.concatenate([bits - 1, bits, bits + 1, bits + 0xFFF, bits + 0x1000, bits + 0x1001])
    x = near.astype(np.uint32).view(np.float32)
    back = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT16)
    found, _ = both(back, {"x": x}, {}, TensorProto.FLOAT16)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(found, x.astype(np.float16))
