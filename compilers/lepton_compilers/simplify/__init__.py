"""Smaller and faster Programs with the same bytes: exact rewrites for every target, after integerize.

ranges.py       what values each channel of an int8 tensor can take, whatever the input is
channels.py     which tensors must keep the same channels, and which channels anything needs
body.py         what a pass is, and a Program with other operations; then one file a pass:
                drop_identities.py, merge_channel_shuffles.py, merge_tables.py, merge_pads.py,
                fold_constant_channels.py, drop_dead_operations.py
run.py          the list is run, each pass leaving its record

The order: identities and pads go first, so that channels are followed through fewer operations; what any
of them leaves unread is dropped last. Every pass gives the bytes that it found, on the reference executor.
"""

from __future__ import annotations

from lepton_compilers.simplify.body import ProgramPass
from lepton_compilers.simplify.drop_dead_operations import drop_dead_operations
from lepton_compilers.simplify.drop_identities import drop_identities
from lepton_compilers.simplify.fold_constant_channels import fold_constant_channels
from lepton_compilers.simplify.merge_channel_shuffles import merge_channel_shuffles
from lepton_compilers.simplify.merge_pads import merge_pads
from lepton_compilers.simplify.merge_tables import merge_tables

EXACT_SIMPLIFICATIONS: tuple[ProgramPass, ...] = (
    drop_identities,
    merge_channel_shuffles,
    merge_tables,
    merge_pads,
    fold_constant_channels,
    drop_dead_operations,
)

__all__ = ["EXACT_SIMPLIFICATIONS"]
