"""Linux CPUs: Program → plan of kernel calls → TIR → C → shared object.

How a row is chosen:
lowering.py           rows (accepts, emit), the first that accepts; instruction_sets.py: which tables

Rows of every CPU:
portable.py           dense tensors; movement.py: bytes moved; elementwise.py: two operands, stretched
int16.py              int16 forms; uint8.py: bytes at a model's ends; state.py: what lives between calls
vision.py             what vision heads add; detection.py: what ends a detector
sequence.py           products of tensors, normalisation, slices; recurrent.py: whole recurrent layers
float_kernel.py       operators without a typed form, as loops of TVM; own_kernels.py: where it has none
training.py           gradients, the loss, the update

Rows by instruction set:
avx512vnni.py         int8, a worked example
blocked_float.py      float32 for AVX-512, AVX2 and NEON; float_tiles.py: their tiles; winograd.py
avx512bf16.py         float32 whose products are bfloat16, where the user allows it
tiles.py              tile shapes of AVX-512; tile_choice.py: which one a layer gets
blocked.py            the rows of those that share kernels/blocked.h: sse2.py, avx2.py, avxvnni.py, neon.py,
                      rvv.py; blocked_tiles.py: what tells their tiles apart
winograd_pairs.py     fewer products in exact integers
int8_forms.py         what both ask of an operation

The plan:
draft.py, plan.py     while it is made, and finished, printable
layout.py, packing.py how tensors and weights lie in memory; ranges.py: what sums can reach
phases.py             transposed convolutions as convolutions
joined.py             parts that lie in their concatenation from the start; joined_maps.py: its rows
uses.py               who reads a tensor last
fused.py              operations that one kernel does better at once than two in turn
splits.py             calls in parts for threads, by cuts.py; split_dense.py: those of dense tensors,
                      split_blocks.py, split_winograd.py, split_bfloat16.py: of AVX-512,
                      split_maps.py: of kernels/blocked.h
                      split_sequences.py: of sequences, pairs and vision; split_training.py: of gradients

The code:
signatures.py         kernels' parameters by name; specialised.py: one C function for all equal layers
tir.py                plan → PrimFunc → C; regions.py: forks around parts; toolchain.py: C → shared object
machine_peak.py       what a core can multiply, for `lepton bench`; machine_memory.py: what it can read
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lepton_compilers.arena import aligned
from lepton_compilers.artifact import Artifact, ArtifactFunction, VariableBlock
from lepton_compilers.backends.answers import Answer, No, Yes
from lepton_compilers.backends.contract import Estimate
from lepton_compilers.backends.cpu.fused import ConvAdd
from lepton_compilers.backends.cpu.instruction_sets import instruction_set
from lepton_compilers.backends.cpu.lowering import choose, plan_function
from lepton_compilers.backends.cpu.packing import WeightBlob
from lepton_compilers.backends.cpu.plan import Plan
from lepton_compilers.backends.cpu.signatures import kernel_header
from lepton_compilers.backends.cpu.tile_choice import TileChoice, by_table
from lepton_compilers.backends.cpu.tir import c_source, c_unit, ordered_headers, symbol
from lepton_compilers.backends.cpu.toolchain import compile_c
from lepton_sdk.program import Operation, Program, TensorId, Tensors
from lepton_targets import Cpu, Target
from lepton_targets.errors import UsageError

__all__ = ["CSources", "c_sources", "estimate", "lower", "operations", "plan", "precisions", "supports"]


def operations(target: Target) -> list[str]:
    """Names of the operations that some row handles on `target`; none where it is no CPU to compile for."""
    if not isinstance(target, Cpu) or not target.available:
        return []
    kinds = {kind for table in instruction_set(target.isa).tables for kind in table} - {ConvAdd}
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
    )


@dataclass(frozen=True, slots=True)
class CSources:
    """A program lowered to one CPU as C to compile elsewhere.

    model: the generated unit, which includes `kernels/NAME` for every name in `headers`. functions: the
    symbols it defines, `PREFIX_FUNCTION`.
    """

    model: str
    headers: Mapping[str, str]
    weights: bytes
    functions: Mapping[str, ArtifactFunction]
    variables: VariableBlock | None


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
    )


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
