"""What there is to tune: the layers of a program whose kernel has several legal tiles, each once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from lepton_compilers.backends.cpu import variable_block
from lepton_compilers.backends.cpu.instruction_sets import instruction_set
from lepton_compilers.backends.cpu.lowering.rows import plan_operations, planned_form
from lepton_compilers.backends.cpu.plans.tile_choice import TiledLayer, Tiles
from lepton_compilers.backends.cpu.weights.packing import WeightBlob
from lepton_sdk.program import Operation, Program
from lepton_sdk.program.operations import DepthwiseConv2d
from lepton_targets import Cpu

DEPTHWISE_COST = 8
"""Of a multiply-accumulate: a window of one channel fills a vector worse than sums over channels do."""


@dataclass(frozen=True, slots=True)
class TunableLayer:
    """A layer and the operation that stands for all that are like it.

    tiles: the table's first, then the others in the order to try. program: in which the operation is planned.
    cost: of all `uses` together, about proportional to time.
    """

    layer: TiledLayer
    tiles: Tiles
    program: Program
    operation: Operation
    uses: int
    cost: int


def tunable_layers(program: Program, cpu: Cpu) -> list[TunableLayer]:
    """Every layer that has more than one tile, the most expensive first."""
    isa, block = instruction_set(cpu.isa), variable_block(program)
    offsets = {} if block is None else block.offsets
    found: dict[TiledLayer, TunableLayer] = {}
    for function in program.functions:
        planned, body = planned_form(program, function, isa.tables)
        plan, _ = plan_operations(planned, body, isa.tables, WeightBlob(), offsets, isa.slack, isa.elements)
        for use in plan.tiles:
            operation = body.operations[use.step]
            weight = DEPTHWISE_COST if isinstance(operation, DepthwiseConv2d) else 1
            cost = operation.macs(planned.tensors) * weight
            known = found.get(use.layer)
            if known is not None:
                found[use.layer] = dataclasses.replace(known, uses=known.uses + 1, cost=known.cost + cost)
            elif len(use.tiles) > 1:
                found[use.layer] = TunableLayer(use.layer, use.tiles, planned, operation, 1, cost)
    return sorted(found.values(), key=lambda one: -one.cost)
