"""What training minimises, as operations appended to a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lepton_compilers.tape import Tape
from lepton_sdk.program import Function, TensorId
from lepton_sdk.program.operations import Reshape, Softmax
from lepton_sdk.program.training import SoftmaxCrossEntropy
from lepton_targets.errors import BadInputError


@dataclass(frozen=True, slots=True)
class Ends:
    """What a loss added to a forward pass: its labels, the loss [1], the scores [B, C] it comes from."""

    labels: TensorId
    loss: TensorId
    scores: TensorId


LossRule = Callable[[Tape, Function], Ends]


def before_softmax(forward: Function) -> Function:
    """The forward pass without its final softmax: it returns the logits."""
    if len(forward.outputs) != 1:
        raise BadInputError(
            f"function '{forward.name}' has {len(forward.outputs)} outputs; training needs exactly one",
            "export the model with the output that its loss belongs to",
        )
    operations, output = list(forward.operations), forward.outputs[0]
    makers = {name: op for op in operations for name in op.outputs}
    tail = []
    step = makers.get(output)
    while isinstance(step, Reshape):
        tail.append(step)
        step = makers.get(step.x)
    if isinstance(step, Softmax) and step.table is None:
        removed = {step, *tail}
        kept = tuple(op for op in operations if op not in removed)
        return Function(forward.name, forward.inputs, (step.x,), kept)
    return forward


def softmax_cross_entropy(tape: Tape, forward: Function) -> Ends:
    """Mean cross-entropy against int32 class labels [B], on what stands before the final softmax."""
    logits = forward.outputs[0]
    tensor = tape.tensors[logits]
    batch = tape.tensors[forward.inputs[0]].shape[0]
    if tensor.dtype != "float32" or tensor.size % batch or tensor.shape[0] != batch:
        raise BadInputError(
            f"the scores '{logits}' are {tensor.dtype} {tensor.shape}; cross-entropy needs float32 "
            f"[{batch}, classes]",
            "models that end in int8 are trained through their float twin",
        )
    if len(tensor.shape) != 2:
        flat = tape.new(f"{logits}.flat", (batch, tensor.size // batch))
        tape.emit(Reshape(logits, flat))
        logits = flat
    labels = tape.new("labels", (batch,), "int32")
    loss = tape.new("loss", (1,))
    probabilities = tape.new(f"{logits}.probabilities", tape.tensors[logits].shape)
    tape.emit(SoftmaxCrossEntropy(logits, labels, loss, probabilities))
    return Ends(labels, loss, logits)


LOSSES: Mapping[str, LossRule] = {"softmax_cross_entropy": softmax_cross_entropy}
