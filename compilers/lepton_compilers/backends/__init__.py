"""Back ends: each a folder that turns a Program into an Artifact for one kind of target.

answers.py    Yes, or No with its reason: what `supports` says
contract.py   the four functions that make a back end, and how one is found for a target
cpu/          Linux CPUs, by generated C and a cross compiler

All four functions read the same tables, so what is not in a table is an honest No.
"""

from __future__ import annotations

from lepton_compilers.backends.answers import Answer, No, Yes
from lepton_compilers.backends.contract import Backend, Estimate, backend_for

__all__ = ["Answer", "Backend", "Estimate", "No", "Yes", "backend_for"]
