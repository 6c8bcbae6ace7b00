"""Relax module (float, or int8 and int16 spelled as quantize and dequantize) → Program.

walk.py         from the results back to the inputs; draft.py: the Program being written
known.py        constants and parameters, read through reshape, permute and dequantize
chain.py        one layer: core, bias, activation, quantize, clip
rules.py        all tables of rules by operator, in the order in which they are asked; their files:
lower_int8.py   a row an int8 layer; accumulators.py proves its sums fit int32
lower_int16.py  a row an int16 layer, and what stands between int8 and int16
lower_float.py  a row a float layer; windows.py: strides and padding of all of these
lower_sequence.py   a row a layer of sequence models; recurrent.py: whole recurrent layers
vision.py       what vision heads add; resize.py: the places of a resize
pointwise.py    rows of functions of one variable; named_functions.py: those with a float form of their own
typed_calls.py  typed operations that Relax has no operator for; states.py: variables that live between calls
float_kernel.py every other Relax operator, by its name
"""

from __future__ import annotations

from lepton_compilers.integerize.walk import integerize

__all__ = ["integerize"]
