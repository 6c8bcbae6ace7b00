"""Reverse mode over a program's typed operations: from `infer` to `train` and `evaluate`.

The forward pass is `infer` at the training batch, without its final softmax; a loss is appended (loss.py);
then the operations are walked backwards, and each one that lies between a trainable variable and the loss
emits the typed operations of its gradient by the rule in BACKWARD. What reaches no trainable variable is
never visited, so frozen parts cost nothing. A parameter's update stands right after the last operation
that reads its gradient or its old value, so that gradients live shortly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from lepton_compilers.batch import rebatched
from lepton_compilers.loss import LOSSES, before_softmax
from lepton_compilers.tape import Tape
from lepton_sdk.program import Function, Operation, Program, TensorId, Variable
from lepton_sdk.program.operations import (
    Add,
    AveragePool2d,
    ClampTo,
    Conv2d,
    Dense,
    DepthwiseConv2d,
    MaxPool2d,
    Pad,
    Relu,
    Reshape,
    Transpose,
)
from lepton_sdk.program.tensors import constant
from lepton_sdk.program.training import (
    AveragePool2dGrad,
    BiasGrad,
    Conv2dGradInput,
    Conv2dGradWeight,
    DenseGradInput,
    DenseGradWeight,
    DepthwiseConv2dGradInput,
    DepthwiseConv2dGradWeight,
    MaxPool2dGrad,
    PadGrad,
    ReluGrad,
    SgdMomentum,
    SoftmaxCrossEntropy,
    SoftmaxCrossEntropyGrad,
)
from lepton_targets.errors import BadInputError, UnsupportedOperatorError, UsageError, nearest

Contribution = tuple[TensorId, TensorId]
"""(an operand, a gradient that flows to it)."""

BackwardRule = Callable[[Any, TensorId, Tape], Iterator[Contribution]]
"""(operation, gradient of its output, tape) → contributions to those operands that the tape wants."""


def _conv2d(op: Conv2d, dy: TensorId, tape: Tape) -> Iterator[Contribution]:
    dy = tape.before_clamp(op.clamp, op.y, dy)
    if op.bias in tape.wanted and op.bias is not None:
        yield op.bias, tape.emit(BiasGrad(dy, tape.gradient(op.bias)))
    window = (op.stride, op.padding, op.dilation)
    if op.weight in tape.wanted:
        yield op.weight, tape.emit(Conv2dGradWeight(op.x, dy, tape.gradient(op.weight), *window))
    if op.x in tape.wanted:
        yield op.x, tape.emit(Conv2dGradInput(dy, op.weight, tape.gradient(op.x), *window))


def _depthwise(op: DepthwiseConv2d, dy: TensorId, tape: Tape) -> Iterator[Contribution]:
    dy = tape.before_clamp(op.clamp, op.y, dy)
    if op.bias in tape.wanted and op.bias is not None:
        yield op.bias, tape.emit(BiasGrad(dy, tape.gradient(op.bias)))
    window = (op.stride, op.padding, op.dilation)
    if op.weight in tape.wanted:
        yield op.weight, tape.emit(DepthwiseConv2dGradWeight(op.x, dy, tape.gradient(op.weight), *window))
    if op.x in tape.wanted:
        yield op.x, tape.emit(DepthwiseConv2dGradInput(dy, op.weight, tape.gradient(op.x), *window))


def _dense(op: Dense, dy: TensorId, tape: Tape) -> Iterator[Contribution]:
    dy = tape.before_clamp(op.clamp, op.y, dy)
    if op.bias in tape.wanted and op.bias is not None:
        yield op.bias, tape.emit(BiasGrad(dy, tape.gradient(op.bias)))
    if op.weight in tape.wanted:
        yield op.weight, tape.emit(DenseGradWeight(op.x, dy, tape.gradient(op.weight)))
    if op.x in tape.wanted:
        yield op.x, tape.emit(DenseGradInput(dy, op.weight, tape.gradient(op.x)))


def _add(op: Add, dy: TensorId, tape: Tape) -> Iterator[Contribution]:
    dy = tape.before_clamp(op.clamp, op.y, dy)
    for operand in (op.a, op.b):
        if operand in tape.wanted:
            yield operand, dy


def _relu(op: Relu, dy: TensorId, tape: Tape) -> Iterator[Contribution]:
    yield op.x, tape.emit(ReluGrad(dy, op.y, tape.gradient(op.x), op.maximum))


def _clamp_to(op: ClampTo, dy: TensorId, tape: Tape) -> Iterator[Contribution]:
    yield op.x, tape.before_clamp(op.clamp, op.y, dy)


def _max_pool(op: MaxPool2d, dy: TensorId, tape: Tape) -> Iterator[Contribution]:
    dy = tape.before_clamp(op.clamp, op.y, dy)
    dx = tape.gradient(op.x)
    yield op.x, tape.emit(MaxPool2dGrad(dy, op.x, dx, op.kernel, op.stride, op.padding))


def _average_pool(op: AveragePool2d, dy: TensorId, tape: Tape) -> Iterator[Contribution]:
    dy = tape.before_clamp(op.clamp, op.y, dy)
    dx = tape.gradient(op.x)
    yield op.x, tape.emit(AveragePool2dGrad(dy, dx, op.kernel, op.stride, op.padding))


def _reshape(op: Reshape, dy: TensorId, tape: Tape) -> Iterator[Contribution]:
    yield op.x, tape.emit(Reshape(dy, tape.gradient(op.x)))


def _transpose(op: Transpose, dy: TensorId, tape: Tape) -> Iterator[Contribution]:
    back = tuple(int(axis) for axis in np.argsort(op.axes))
    yield op.x, tape.emit(Transpose(dy, tape.gradient(op.x), back))


def _pad(op: Pad, dy: TensorId, tape: Tape) -> Iterator[Contribution]:
    yield op.x, tape.emit(PadGrad(dy, tape.gradient(op.x), op.before))


def _softmax_cross_entropy(op: SoftmaxCrossEntropy, dy: TensorId, tape: Tape) -> Iterator[Contribution]:
    yield (
        op.logits,
        tape.emit(SoftmaxCrossEntropyGrad(op.probabilities, op.labels, tape.gradient(op.logits))),
    )


BACKWARD: Mapping[type[Operation], BackwardRule] = {
    Conv2d: _conv2d,
    DepthwiseConv2d: _depthwise,
    Dense: _dense,
    Add: _add,
    Relu: _relu,
    ClampTo: _clamp_to,
    MaxPool2d: _max_pool,
    AveragePool2d: _average_pool,
    Reshape: _reshape,
    Transpose: _transpose,
    Pad: _pad,
    SoftmaxCrossEntropy: _softmax_cross_entropy,
}


def differentiate(program: Program, *, loss: str = "softmax_cross_entropy", batch: int = 16) -> Program:
    """The program with `train` and `evaluate` beside its functions; they share its variables.

    train(features…, labels int32 [B], learning_rate float32 [1], momentum float32 [1]) → loss float32 [1];
    evaluate(features…, labels) → loss [1], logits [B, C]. Features are the inputs of `infer` at `batch`.
    Every trainable variable gets a velocity, a variable named `<parameter>.velocity`, behind all others.

    Raises UsageError for an unknown loss, BadInputError where nothing is trainable,
    UnsupportedOperatorError that names every layer through which no gradient flows.
    """
    if loss not in LOSSES:
        raise UsageError(f"unknown loss '{loss}'{nearest(loss, LOSSES)}", f"known: {', '.join(LOSSES)}")
    trainable = [variable.tensor for variable in program.variables if variable.trainable]
    if not trainable:
        raise BadInputError(
            "the program has no trainable variable", "import the model with trainable parameters"
        )
    body, tensors = rebatched(program, "infer", batch)
    forward = before_softmax(body)
    tape = Tape(tensors, forward.operations)
    ends = LOSSES[loss](tape, forward)
    through_loss = tuple(tape.operations)
    evaluate = Function("evaluate", (*forward.inputs, ends.labels), (ends.loss, ends.scores), through_loss)

    gradients = _gradients(tape, ends.loss, trainable, batch)
    learning_rate, momentum = tape.new("learning_rate", (1,)), tape.new("momentum", (1,))
    updates, velocities = [], []
    for parameter, gradient in gradients.items():
        velocity = f"{parameter}.velocity"
        if velocity in tape.tensors:
            raise BadInputError(f"the model has a tensor '{velocity}', the name of an optimiser's variable")
        tape.tensors[velocity] = constant(velocity, np.zeros(tape.tensors[parameter].shape, np.float32))
        velocities.append(Variable(velocity))
        updates.append(SgdMomentum(parameter, velocity, gradient, learning_rate, momentum))
    inputs = (*forward.inputs, ends.labels, learning_rate, momentum)
    train = Function("train", inputs, (ends.loss,), _with_updates(tape.operations, updates))
    functions = {**program.functions, "train": train, "evaluate": evaluate}
    return Program(functions, tape.tensors, (*program.variables, *velocities))


def _gradients(tape: Tape, loss: TensorId, trainable: list[TensorId], batch: int) -> dict[TensorId, TensorId]:
    """Append the backward pass; the gradient of every trainable variable that reaches the loss."""
    between = _reached_from(tape.operations, trainable)
    if loss not in between:
        raise BadInputError(f"no trainable variable reaches the loss: {', '.join(trainable)}")
    path = [op for op in tape.operations if between.intersection(op.inputs)]
    needed = _reaching(path, loss)
    path = [op for op in path if needed.intersection(op.outputs)]
    _refuse_unsupported(path, tape, batch)
    tape.wanted = between & needed
    gradients: dict[TensorId, TensorId] = {}
    for op in reversed(path):
        # The loss itself has gradient 1, which its rule knows.
        dy = loss if isinstance(op, SoftmaxCrossEntropy) else gradients[op.outputs[0]]
        for operand, gradient in BACKWARD[type(op)](op, dy, tape):
            if operand in gradients:
                gradient = tape.emit(Add(gradients[operand], gradient, tape.gradient(operand)))
            gradients[operand] = gradient
    return {parameter: gradients[parameter] for parameter in trainable if parameter in gradients}


def _reached_from(operations: list[Operation], sources: list[TensorId]) -> set[TensorId]:
    """The sources and everything computed from them."""
    reached = set(sources)
    for op in operations:
        if reached.intersection(op.inputs):
            reached.update(op.outputs)
    return reached


def _reaching(operations: list[Operation], goal: TensorId) -> set[TensorId]:
    """The goal and everything it is computed from."""
    reaching = {goal}
    for op in reversed(operations):
        if reaching.intersection(op.outputs):
            reaching.update(op.inputs)
    return reaching


def _refuse_unsupported(path: list[Operation], tape: Tape, batch: int) -> None:
    unsupported = [
        op
        for op in path
        if type(op) not in BACKWARD
        or tape.tensors[op.outputs[0]].dtype != "float32"
        or (isinstance(op, Add) and tape.tensors[op.a].shape != tape.tensors[op.b].shape)
    ]
    if unsupported:
        layers = ", ".join(
            f"'{op.outputs[0].removesuffix(f'.b{batch}')}' "
            f"({type(op).__name__}, {tape.tensors[op.outputs[0]].dtype})"
            for op in unsupported
        )
        raise UnsupportedOperatorError(
            f"no gradient flows through {layers}",
            f"supported, in float32: {', '.join(kind.__name__ for kind in BACKWARD)}",
            "freeze every parameter in front of that layer, or train without it",
        )


def _with_updates(operations: list[Operation], updates: list[SgdMomentum]) -> tuple[Operation, ...]:
    """Each update right after the last operation that makes or reads its gradient, or reads its parameter."""
    last: dict[TensorId, int] = {}
    for step, op in enumerate(operations):
        for name in (*op.inputs, *op.outputs):
            last[name] = step
    after: dict[int, list[Operation]] = {}
    for update in updates:
        step = max(last[update.gradient], last[update.parameter])
        after.setdefault(step, []).append(update)
    return tuple(result for step, op in enumerate(operations) for result in (op, *after.get(step, ())))
