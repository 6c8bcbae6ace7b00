"""Relax module (float, or int8 spelled as quantize and dequantize) → Program.

known.py        constants and parameters, read through reshape, permute and dequantize
chain.py        one layer: core, bias, activation, quantize, clip
lower_int8.py   a row an int8 layer; accumulators.py proves its sums fit int32
lower_int16.py  a row an int16 layer, and what stands between int8 and int16
lower_float.py  a row a float layer; windows.py: strides and padding of both
lower_sequence.py a row a layer of sequence models, both types; pointwise.py: rows of functions;
                rules.py: all rows together
float_kernel.py every other Relax operator, by its name
vision.py, resize.py: what vision heads add; typed_calls.py: operations that Relax has no operator for;
states.py       variables that live between calls
draft.py        the Program being written; walk.py: from the results back to the inputs
"""

from __future__ import annotations

from lepton_compilers.integerize.walk import integerize

__all__ = ["integerize"]
