"""Linux CPUs: Program → plan of kernel calls → TIR → C → shared object.

In the order in which they may import each other, the last first:

rewrites             operations fused, or taken apart into others
plans                kernel calls on named buffers, how tensors lie in memory, kernels' parameters
weights, tiles       constants as kernels read them; legal tile shapes
splits               calls in parts for threads
codegen              plan → C → shared object
lowering             rows (accepts, emit), the first that accepts; the draft that they write to
portable, blocked    the rows: of every CPU on dense tensors, of vector instruction sets on blocked maps
instruction_sets.py  which tables of rows an instruction set reads
machine              what a core can multiply and read, for `lepton bench`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lepton_compilers.arena import aligned
from lepton_compilers.artifact import Artifact, ArtifactFunction, VariableBlock
from lepton_compilers.backends.answers import Answer, No, Yes
from lepton_compilers.backends.contract import Estimate
from lepton_compilers.backends.cpu.codegen.steps import stretches
from lepton_compilers.backends.cpu.codegen.tir import c_source, c_unit, symbol
from lepton_compilers.backends.cpu.codegen.toolchain import compile_c
from lepton_compilers.backends.cpu.instruction_sets import instruction_set
from lepton_compilers.backends.cpu.lowering.rows import choose, plan_function
from lepton_compilers.backends.cpu.plans.headers import kernel_header, ordered_headers
from lepton_compilers.backends.cpu.plans.plan import Plan
from lepton_compilers.backends.cpu.plans.tile_choice import TileChoice, by_table
from lepton_compilers.backends.cpu.rewrites import PLANNED
from lepton_compilers.backends.cpu.weights.packing import WeightBlob
from lepton_sdk.program import Operation, Program, TensorId, Tensors
from lepton_sdk.steps import Step
from lepton_targets import Cpu, Target
from lepton_targets.errors import UsageError

__all__ = ["CSources", "c_sources", "estimate", "lower", "operations", "plan", "precisions", "supports"]


def operations(target: Target) -> list[str]:
    """Names of the operations that some row handles on `target`; none where it is no CPU to compile for."""
    if not isinstance(target, Cpu) or not target.available:
        return []
    kinds = {kind for table in instruction_set(target.isa).tables for kind in table} - PLANNED
    return sorted(kind.__name__ for kind in kinds)


def precisions(target: Target) -> tuple[str, ...]:
    """How the target can multiply float32."""
    able = isinstance(target, Cpu) and instruction_set(target.isa).bfloat16 is not None
    return ("float32", "bf16") if able else ("float32",)


def supports(op: Operation, tensors: Tensors, cpu: Cpu) -> Answer:
    """Whether `cpu` has a form for the operation; No says what was found and what is accepted."""
    row = choose(op, tensors, instruction_set(cpu.isa).tables)
    return row if isinstance(row, No) else Yes()


def plan(
    program: Program,
    cpu: Cpu,
    function: str = "infer",
    choice: TileChoice = by_table,
    precision: str = "float32",
) -> Plan:
    """What `function` would run on `cpu`, without generating anything."""
    offsets = {} if (block := variable_block(program)) is None else block.offsets
    return _function_plan(program, cpu, function, WeightBlob(), offsets, precision, choice)[0]


def estimate(
    program: Program, cpu: Cpu, choice: TileChoice = by_table, precision: str = "float32"
) -> Estimate:
    """What the program would cost on `cpu`. Raises UnsupportedOperatorError as `lower` does."""
    plans, _, weights = _planned(program, cpu, variable_block(program), precision, choice)
    return Estimate(
        target=cpu.name,
        macs={p.function: program.macs(p.function) for p in plans},
        arena_bytes={p.function: p.arena_bytes for p in plans},
        weights_bytes=len(weights),
        plan={p.function: p.show() for p in plans},
    )


def lower(program: Program, cpu: Cpu, choice: TileChoice = by_table, precision: str = "float32") -> Artifact:
    """Every function of the program as code for `cpu`, its weights and variables.

    precision: how float32 is multiplied, one of `precisions`. choice: which of their tiles kernels get.
    Raises UnsupportedOperatorError that names the layer, MissingExtraError without TVM or ziglang.
    """
    variables = variable_block(program)
    plans, headers, weights = _planned(program, cpu, variables, precision, choice)
    source = c_source(plans, headers)
    return Artifact(
        target=cpu.name,
        code=compile_c(source, cpu),
        weights=weights,
        functions={p.function: ArtifactFunction(symbol(p.function), p.arena_bytes) for p in plans},
        variables=variables,
        sources={f"model-{cpu.name}.c": source},
        steps=_steps(plans),
    )


@dataclass(frozen=True, slots=True)
class CSources:
    """A program lowered to one CPU as C to compile elsewhere.

    model: the generated unit, which includes `kernels/NAME` for every name in `headers`. functions: the
    symbols it defines, `PREFIX_FUNCTION`. steps: what each does between the readings of its timed form.
    """

    model: str
    headers: Mapping[str, str]
    weights: bytes
    functions: Mapping[str, ArtifactFunction]
    variables: VariableBlock | None
    steps: Mapping[str, tuple[Step, ...]]


def c_sources(
    program: Program, cpu: Cpu, prefix: str, choice: TileChoice = by_table, precision: str = "float32"
) -> CSources:
    """Every function of the program as C, not compiled. Raises as `lower` does."""
    variables = variable_block(program)
    plans, headers, weights = _planned(program, cpu, variables, precision, choice)
    symbols = {p.function: f"{prefix}_{p.function}" for p in plans}
    return CSources(
        model=c_unit(plans, headers, symbols),
        headers={name: kernel_header(name) for name in ordered_headers(headers)},
        weights=weights,
        functions={p.function: ArtifactFunction(symbols[p.function], p.arena_bytes) for p in plans},
        variables=variables,
        steps=_steps(plans),
    )


def _steps(plans: Sequence[Plan]) -> dict[str, tuple[Step, ...]]:
    return {p.function: tuple(stretch.step for stretch in stretches(p)) for p in plans}


def _planned(
    program: Program, cpu: Cpu, variables: VariableBlock | None, precision: str, choice: TileChoice
) -> tuple[list[Plan], set[str], bytes]:
    """Every function's plan, the kernel headers they need, and the weights that they share."""
    weights, offsets = WeightBlob(), {} if variables is None else variables.offsets
    plans: list[Plan] = []
    headers: set[str] = set()
    for name in program.functions:
        planned, needed = _function_plan(program, cpu, name, weights, offsets, precision, choice)
        plans.append(planned)
        headers |= needed
    return plans, headers, weights.content()


def _function_plan(
    program: Program,
    cpu: Cpu,
    function: str,
    weights: WeightBlob,
    variables: Mapping[TensorId, int],
    precision: str,
    choice: TileChoice,
) -> tuple[Plan, frozenset[str]]:
    isa, bfloat16 = instruction_set(cpu.isa), precision == "bf16"
    if precision not in precisions(cpu):
        raise UsageError(
            f"{cpu.name} has no '{precision}' products; accepted there: {', '.join(precisions(cpu))}"
        )
    rows = isa.rows(bfloat16)
    return plan_function(
        program, function, rows, weights, variables, isa.slack, isa.elements, choice, bfloat16
    )


def variable_block(program: Program) -> VariableBlock | None:
    """Every variable's first value in one block, each 64-byte aligned, in the program's order."""
    if not program.variables:
        return None
    content, offsets = bytearray(), {}
    for variable in program.variables:
        value = program.tensors[variable.tensor].value
        assert value is not None  # the program's check promised it
        offsets[variable.tensor] = len(content)
        content += np.ascontiguousarray(value).tobytes()
        content += bytes(aligned(len(content)) - len(content))
    return VariableBlock(bytes(content), offsets)
