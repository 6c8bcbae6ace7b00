"""Gradients against PyTorch and against differences of the loss; what frozen parameters save."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lepton_compilers.compilation import select_trainable
from lepton_compilers.differentiate import BACKWARD, differentiate
from lepton_sdk.program import Clamp, Function, Program, serialize
from lepton_sdk.program.operations import Conv2d, Dense, Reshape, Softmax
from lepton_sdk.program.reference import Reference
from lepton_sdk.program.training import Conv2dGradInput, Conv2dGradWeight, SgdMomentum
from lepton_targets.errors import BadInputError, UnsupportedOperatorError, UsageError
from support.float_networks import Network, everything_network, small_networks
from support.torch_oracle import loss_and_gradients

ZERO, ONE = np.zeros(1, np.float32), np.ones(1, np.float32)


def batch_for(program: Program, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels of one call of `train`; the last row is masked."""
    random = np.random.default_rng(seed)
    body = program.function("evaluate")
    features = random.normal(size=program.tensors[body.inputs[0]].shape).astype(np.float32)
    rows, classes = program.tensors[body.outputs[1]].shape
    labels = random.integers(0, classes, rows).astype(np.int32)
    labels[-1] = -1
    return features, labels


def gradients(program: Program, features: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    values = Reference(program).trace([features, labels, ZERO, ZERO], "train")
    updates = [op for op in program.function("train").operations if isinstance(op, SgdMomentum)]
    return {op.parameter: values[op.gradient] for op in updates}


def assert_gradients_are_torchs(program: Program) -> None:
    pytest.importorskip("torch", reason="PyTorch, the oracle, is not installed")
    features, labels = batch_for(program)
    expected_loss, expected = loss_and_gradients(program, features, labels)
    (loss, _) = Reference(program).run([features, labels], "evaluate")
    np.testing.assert_allclose(loss, [expected_loss], rtol=1e-5)
    found = gradients(program, features, labels)
    assert found.keys() == expected.keys()
    # A bias collects what cancels elsewhere: float32's error is that of the largest gradient.
    scale = max(float(np.abs(gradient).max()) for gradient in expected.values())
    for name, gradient in found.items():
        np.testing.assert_allclose(gradient, expected[name], atol=2e-5 * scale, rtol=1e-4, err_msg=name)


def test_every_rule_in_one_network_agrees_with_pytorch() -> None:
    network = everything_network()
    assert {type(op) for op in network.operations} >= {
        kind for kind in BACKWARD if kind.__name__ != "SoftmaxCrossEntropy"
    }
    assert_gradients_are_torchs(differentiate(network.program(), batch=4))


@settings(max_examples=40, deadline=None)
@given(small_networks(), st.integers(2, 4))
def test_random_networks_agree_with_pytorch(network: Network, batch: int) -> None:
    assert_gradients_are_torchs(differentiate(network.program(), batch=batch))


@settings(max_examples=25, deadline=None)
@given(small_networks(), st.integers(0, 100))
def test_the_loss_changes_as_the_gradient_says(network: Network, seed: int) -> None:
    program = differentiate(network.program(), batch=3)
    features, labels = batch_for(program, seed)
    found = gradients(program, features, labels)
    random = np.random.default_rng(seed)
    direction = {name: random.normal(size=g.shape) for name, g in found.items()}

    def loss_at(distance: float) -> float:
        moved = Reference(program)
        for name, step in direction.items():
            moved.variables[name] = (moved.variables[name] + distance * step).astype(np.float32)
        return float(moved.run([features, labels], "evaluate")[0][0])

    here = loss_at(0.0)
    sides = [((loss_at(e) - here) / e, (here - loss_at(-e)) / e) for e in (4e-3, 2e-3)]
    wide, narrow = ((ahead + behind) / 2 for ahead, behind in sides)
    wide_bend, narrow_bend = (ahead - behind for ahead, behind in sides)
    # A kink of ReLU, clamp or maximum between the points makes the two slopes differ. One close to the
    # middle does not, but the two sides then stay apart, where those of a smooth loss come together.
    smooth = 2e-3 * max(1.0, abs(narrow))
    assume(abs(wide - narrow) < smooth and abs(2 * narrow_bend - wide_bend) < 2 * smooth)
    along = sum(float((found[name] * step).sum()) for name, step in direction.items())
    assert along == pytest.approx(narrow, rel=1e-2, abs=5e-3)


def test_a_clamp_inside_an_operation_stops_the_gradient_as_an_operation_would() -> None:
    fused, apart = Network((1, 6, 6, 2), 3), Network((1, 6, 6, 2), 3)
    fused.conv(4)
    fused.operations[-1] = dataclasses.replace(fused.operations[-1], clamp=Clamp(0.0, 0.6))
    fused.flatten().dense(3).softmax()
    apart.conv(4).relu(0.6).flatten().dense(3).softmax()
    first, second = (differentiate(net.program(), batch=4) for net in (fused, apart))
    features, labels = batch_for(first)
    for a, b in zip(
        gradients(first, features, labels).values(), gradients(second, features, labels).values()
    ):
        np.testing.assert_array_equal(a, b)


def test_frozen_parts_cost_nothing() -> None:
    network = everything_network()
    whole = network.program()
    head = differentiate(select_trainable(whole, "head"), batch=4)
    forward = len(head.function("evaluate").operations)
    # The loss's gradient; the dense layer's two gradients and their two updates; nothing else.
    assert len(head.function("train").operations) == forward + 5
    kinds = {type(op) for op in head.function("train").operations}
    assert not kinds & {Conv2dGradInput, Conv2dGradWeight}
    velocities = [v.tensor for v in head.variables if not v.trainable]
    assert velocities == ["dense18.weight.velocity", "dense18.bias.velocity"]


def test_nothing_flows_to_the_features_or_in_front_of_the_first_trainable_layer() -> None:
    network = Network((1, 6, 6, 2)).conv(4).relu().conv(3).flatten().dense(3).softmax()
    program = differentiate(network.program(), batch=2)
    assert sum(isinstance(op, Conv2dGradInput) for op in program.function("train").operations) == 1


def test_a_parameter_is_read_for_the_last_time_before_its_update() -> None:
    operations = differentiate(everything_network().program(), batch=4).function("train").operations
    updated: set[str] = set()
    for op in operations:
        assert not updated & set(op.inputs)
        updated.update(op.updates)
    assert len(updated) == 2 * sum(isinstance(op, SgdMomentum) for op in operations)


def test_infer_keeps_its_batch_and_shares_the_variables() -> None:
    source = Network((1, 5, 5, 1)).conv(2).relu().flatten().dense(3).softmax().program()
    program = differentiate(source, batch=8)
    assert program.function("infer") == source.function("infer")
    engine = Reference(program)
    features, labels = batch_for(program)
    before = engine.run([features[:1]])[0]
    rate = np.full(1, 0.5, np.float32)
    first = engine.run([features, labels, rate, ZERO], "train")[0][0]
    for _ in range(5):
        last = engine.run([features, labels, rate, ZERO], "train")[0][0]
    assert last < first
    assert np.abs(engine.run([features[:1]])[0] - before).max() > 1e-3
    logits = engine.run([features, labels], "evaluate")[1]
    shares = np.exp(logits[:1]) / np.exp(logits[:1]).sum()
    np.testing.assert_allclose(engine.run([features[:1]])[0], shares, rtol=1e-5)


def test_momentum_is_the_heavy_ball() -> None:
    program = differentiate(Network((1, 4)).dense(3).program(), batch=4)
    engine = Reference(program)
    features, labels = batch_for(program)
    rate, momentum = np.full(1, 0.1, np.float32), np.full(1, 0.5, np.float32)
    expected = engine.variables["dense0.weight"].copy()
    velocity = np.zeros_like(expected)
    for _ in range(3):
        values = engine.trace([features, labels, rate, momentum], "train")
        velocity = momentum * velocity + values["dense0.weight.gradient"]
        expected = expected - rate * velocity
        np.testing.assert_array_equal(engine.variables["dense0.weight"], expected)


def test_a_batch_that_is_wholly_masked_changes_nothing() -> None:
    program = differentiate(everything_network().program(), batch=3)
    engine = Reference(program)
    features, _ = batch_for(program)
    before = {name: value.copy() for name, value in engine.variables.items()}
    (loss,) = engine.run([features, np.full(3, -1, np.int32), ONE, ZERO], "train")
    assert loss[0] == 0
    for name, value in engine.variables.items():
        np.testing.assert_array_equal(value, before[name])


def test_the_same_network_gives_the_same_bytes() -> None:
    first, second = (serialize.dump(differentiate(everything_network().program())) for _ in range(2))
    assert first == second
    assert serialize.dump(serialize.load(first)) == first


def test_a_network_without_softmax_is_taken_at_its_scores() -> None:
    with_softmax = Network((1, 4)).dense(3).softmax().program()
    without = Network((1, 4)).dense(3).program()
    ends = [differentiate(p, batch=2).function("evaluate") for p in (with_softmax, without)]
    assert ends[0] == ends[1]
    assert not any(isinstance(op, Softmax) for op in ends[0].operations)


def test_scores_of_rank_four_are_flattened() -> None:
    network = Network((1, 4, 4, 2)).conv(3, kernel=4, pad=0).softmax()
    network.then(Reshape(network.x, network.tensor("flat", (1, 3))))
    program = differentiate(network.program(), batch=2)
    assert program.tensors[program.function("evaluate").outputs[1]].shape == (2, 3)
    assert_gradients_are_torchs(program)


def test_a_layer_without_gradient_is_named() -> None:
    network = Network((1, 4)).dense(4).softmax().dense(3).softmax()
    with pytest.raises(UnsupportedOperatorError, match=r"'probabilities1' \(Softmax, float32\)") as caught:
        differentiate(network.program(), batch=2)
    assert "Conv2d" in str(caught.value)
    head = select_trainable(network.program(), "head")
    assert any(
        isinstance(op, SgdMomentum) for op in differentiate(head, batch=2).function("train").operations
    )


def test_what_cannot_be_trained_is_told() -> None:
    program = Network((1, 4)).dense(3).program()
    with pytest.raises(UsageError, match="did you mean softmax_cross_entropy"):
        differentiate(program, loss="softmax_crossentropy")
    with pytest.raises(BadInputError, match="no trainable variable"):
        differentiate(Program(program.functions, program.tensors, ()))
    with pytest.raises(BadInputError, match="at least 1"):
        differentiate(program, batch=0)
    infer = program.function("infer")
    two = dataclasses.replace(infer, outputs=(infer.outputs[0], infer.outputs[0]))
    with pytest.raises(BadInputError, match="2 outputs; training needs exactly one"):
        differentiate(Program({"infer": two}, program.tensors, program.variables))
    unused = Function("infer", ("image",), ("image",), ())
    with pytest.raises(BadInputError, match="reaches the loss"):
        differentiate(Program({"infer": unused}, program.tensors, program.variables))


def test_shared_weights_collect_both_gradients() -> None:
    network = Network((1, 3)).dense(3).relu()
    first = network.operations[0]
    assert isinstance(first, Dense)
    network.then(dataclasses.replace(first, x=network.x, y=network.tensor("again", (1, 3))))
    assert_gradients_are_torchs(differentiate(network.program(), batch=4))


def test_one_tensor_added_to_itself_flows_twice() -> None:
    network = Network((1, 4, 4, 1)).conv(2)
    assert isinstance(network.operations[0], Conv2d)
    assert_gradients_are_torchs(
        differentiate(network.add(network.x).flatten().dense(2).softmax().program(), batch=3)
    )
