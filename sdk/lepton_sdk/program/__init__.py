"""What a program means, apart from any target.

tensors.py        names, shapes, types, quantisation of what operations read and write
program.py        functions, variables, and the checks that make a Program trustworthy

The typed operations:
operations.py     those of inference; operations_int16.py: those that exist for int16 only
vision.py         transposed convolution, resizing, reductions; detection.py: what ends a detector
sequence.py       sequence models and transformers; recurrent.py: whole recurrent layers
state.py          what lives between calls; uint8.py: bytes at a model's ends
training.py       gradients, the loss, the update
float_kernel.py   everything that has no typed one

Their meaning:
arithmetic.py     the integer arithmetic that every target reproduces byte for byte; arithmetic_int16.py,
                  arithmetic_vision.py, arithmetic_sequence.py
reference.py      one numpy rule (rule.py) an operation: the specification of the bits; reference_int16.py,
                  reference_vision.py, reference_detection.py, reference_sequence.py, reference_recurrent.py,
                  reference_training.py; products.py: sums of products, fast
reference_kernels.py   rules of float kernels by name; reference_windows.py, reference_own_kernels.py

serialize.py      the deterministic bytes inside a bundle; table.py: the printed form
"""

from __future__ import annotations

from lepton_sdk.program.operations import Operation
from lepton_sdk.program.program import Function, Program, Variable
from lepton_sdk.program.tensors import Clamp, Padding, Quantization, Tensor, TensorId, Tensors

__all__ = [
    "Clamp",
    "Function",
    "Operation",
    "Padding",
    "Program",
    "Quantization",
    "Tensor",
    "TensorId",
    "Tensors",
    "Variable",
]
