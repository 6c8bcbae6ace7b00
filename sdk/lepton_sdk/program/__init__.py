"""What a program means, apart from any target.

tensors.py      names, shapes, types, quantisation of what operations read and write
operations.py   the typed operations of inference; training.py: those of gradients and updates;
                vision.py: transposed convolution, resizing, reductions; sequence.py, recurrent.py: those of
                sequence models and transformers; float_kernel.py: everything that has no typed one
program.py      functions, variables, and the checks that make a Program trustworthy
arithmetic.py   the integer arithmetic that every target reproduces byte for byte; arithmetic_vision.py,
                arithmetic_sequence.py
reference.py    one numpy rule an operation: the specification of the bits; reference_vision.py,
                reference_sequence.py, reference_recurrent.py, reference_training.py theirs;
                reference_kernels.py, reference_windows.py
                those of float kernels by name; rule.py what a rule is
serialize.py    the deterministic bytes inside a bundle; table.py: the printed form
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
