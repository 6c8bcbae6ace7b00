"""Another number of examples a call: the same results row by row, or a clear refusal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_compilers.batch import with_batch
from lepton_sdk.program import Function, Program, Tensor, reference
from lepton_sdk.program.operations import Add, Concat, Mul, Reshape
from lepton_sdk.program.tensors import constant
from lepton_targets.errors import BadInputError, UnsupportedOperatorError
from support.float_networks import Network, everything_network, small_networks


@settings(max_examples=30, deadline=None)
@given(small_networks(), st.integers(2, 5))
def test_each_row_is_what_it_is_alone(network: Network, batch: int) -> None:
    program = network.program()
    wide = with_batch(program, "infer", batch)
    features = np.random.default_rng(1).normal(size=(batch, *program.tensors["image"].shape[1:]))
    features = features.astype(np.float32)
    (together,) = reference.run(wide, [features])
    alone = np.concatenate([reference.run(program, [row[None]])[0] for row in features])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


def test_weights_and_other_functions_stay() -> None:
    program = everything_network().program()
    both = Program(
        {"infer": program.function(), "again": Function("again", ("image",), ("image",), ())},
        program.tensors,
        program.variables,
    )
    wide = with_batch(both, "infer", 4)
    assert wide.function("again") == both.function("again")
    assert wide.variables == both.variables
    for variable in both.variables:
        assert wide.tensors[variable.tensor] is both.tensors[variable.tensor]
    assert with_batch(wide, "infer", 4).function() == wide.function()
    back = with_batch(wide, "infer", 1)
    assert [back.tensors[n].shape for n in back.function().outputs] == [(1, 5)]


def test_a_batch_that_a_transpose_moved_is_followed() -> None:
    network = Network((1, 4, 6, 2)).transpose(1, 2, 0, 3)
    network.then(Reshape(network.x, network.tensor("merged", (24, 1, 2)))).relu()
    wide = with_batch(network.transpose(1, 0, 2).program(), "infer", 3)
    assert wide.tensors[wide.function().outputs[0]].shape == (3, 24, 2)


def test_a_constant_operand_is_spread_over_the_examples() -> None:
    tensors = {
        "image": Tensor("image", (1, 3), "float32"),
        "offset": constant("offset", np.array([[1, 2, 3]], np.float32)),
        "y": Tensor("y", (1, 3), "float32"),
    }
    program = Program(
        {"infer": Function("infer", ("image",), ("y",), (Add("image", "offset", "y"),))}, tensors
    )
    (y,) = reference.run(with_batch(program, "infer", 2), [np.zeros((2, 3), np.float32)])
    np.testing.assert_array_equal(y, [[1, 2, 3], [1, 2, 3]])


def test_an_operand_without_a_batch_axis_is_stretched_over_the_examples() -> None:
    tensors = {
        "map": Tensor("map", (1, 2, 3), "float32"),
        "gate": constant("gate", np.array([1, 2, 3], np.float32)),
        "y": Tensor("y", (1, 2, 3), "float32"),
    }
    program = Program({"infer": Function("infer", ("map",), ("y",), (Mul("gate", "map", "y"),))}, tensors)
    (y,) = reference.run(with_batch(program, "infer", 4), [np.ones((4, 2, 3), np.float32)])
    np.testing.assert_array_equal(y, np.broadcast_to([1, 2, 3], (4, 2, 3)))


def test_parts_are_joined_within_each_example() -> None:
    tensors = {name: Tensor(name, (1, 2), "float32") for name in "ab"} | {"y": Tensor("y", (1, 4), "float32")}
    body = Function("infer", ("a", "b"), ("y",), (Concat(("a", "b"), "y", 1),))
    wide = with_batch(Program({"infer": body}, tensors), "infer", 3)
    assert wide.tensors[wide.function().outputs[0]].shape == (3, 4)
    across = Function("infer", ("a", "b"), ("y",), (Concat(("a", "b"), "y", 0),))
    rows = tensors | {"y": Tensor("y", (2, 2), "float32")}
    with pytest.raises(UnsupportedOperatorError, match="Concat 'y' mixes the examples"):
        with_batch(Program({"infer": across}, rows), "infer", 3)


def test_what_would_mix_examples_is_named() -> None:
    merged = Network((2, 4, 4, 1))
    merged.then(Reshape(merged.x, merged.tensor("merged", (1, 32))))
    with pytest.raises(UnsupportedOperatorError, match="Reshape 'merged0' mixes the examples"):
        with_batch(merged.program(), "infer", 4)
    padded = Network((2, 3)).pad((1, 0), (0, 0))
    with pytest.raises(UnsupportedOperatorError, match="Pad 'pad0' mixes the examples"):
        with_batch(padded.program(), "infer", 4)
    turned = Network((2, 3)).transpose(1, 0).softmax()
    with pytest.raises(UnsupportedOperatorError, match="Softmax"):
        with_batch(turned.program(), "infer", 4)
    tensors = {"a": Tensor("a", (1, 3), "float32"), "b": Tensor("b", (2, 3), "float32")}
    unequal = Program({"infer": Function("infer", ("a", "b"), ("a",), ())}, tensors)
    with pytest.raises(BadInputError, match="share no leading batch axis"):
        with_batch(unequal, "infer", 4)
