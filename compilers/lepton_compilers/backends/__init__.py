"""Back ends: each a folder that turns a Program into an Artifact for one kind of target.

answers.py   Yes, or No with its reason: what `supports` says
cpu/         Linux CPUs, by generated C and a cross compiler

A back end has `supports(op, tensors, target) -> Yes | No` and `lower(program, target) -> Artifact`; both read
the same tables, so what is not in a table is an honest No.
"""

from __future__ import annotations

from lepton_compilers.backends.answers import Answer, No, Yes

__all__ = ["Answer", "No", "Yes"]
