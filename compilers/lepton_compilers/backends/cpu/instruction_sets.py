"""Which lowering tables an instruction set reads, best first. Adding one: a header, a table, a row here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from lepton_compilers.backends.cpu.blocked import (
    avx2,
    avx512bf16,
    avx512vnni,
    avx512vnni_attention,
    avxvnni,
    float32,
    neon,
    rvv,
    sse2,
    training_winograd,
)
from lepton_compilers.backends.cpu.blocked import elementwise as blocked_elementwise
from lepton_compilers.backends.cpu.blocked.int8 import BlockedKernels
from lepton_compilers.backends.cpu.lowering.rows import Rows
from lepton_compilers.backends.cpu.plans.layout import UNSIGNED, MapElements
from lepton_compilers.backends.cpu.portable import (
    detection,
    elementwise,
    float_kernel,
    int16,
    layers,
    own_kernels,
    recurrent,
    recurrent_f32,
    sequence,
    state,
    training,
    training_few_channels,
    training_updates,
    uint8,
    vision,
)
from lepton_targets import Isa


@dataclass(frozen=True, slots=True)
class InstructionSet:
    """tables: rows to try in order. slack: bytes before and after the arena that kernels may read.

    elements: what blocked feature maps hold. bfloat16: rows that come before, where float32 may be multiplied
    as bfloat16; None where the CPUs can't.
    """

    tables: tuple[Rows, ...]
    slack: tuple[int, int] = (0, 0)
    elements: MapElements = UNSIGNED
    bfloat16: Rows | None = None

    def rows(self, bfloat16: bool) -> tuple[Rows, ...]:
        """The tables to try, those of bfloat16 first where it is allowed."""
        return (self.bfloat16, *self.tables) if bfloat16 and self.bfloat16 is not None else self.tables


EVERYWHERE: tuple[Rows, ...] = (
    layers.LOWERINGS,
    elementwise.LOWERINGS,
    own_kernels.LOWERINGS,
    float_kernel.LOWERINGS,
    int16.LOWERINGS,
    vision.LOWERINGS,
    detection.LOWERINGS,
    sequence.LOWERINGS,
    recurrent.LOWERINGS,
    recurrent_f32.LOWERINGS,
    state.LOWERINGS,
    uint8.LOWERINGS,
    training_few_channels.LOWERINGS,
    training_updates.LOWERINGS,
    training.LOWERINGS,
)
"""The tables that end every instruction set's list."""

PORTABLE = InstructionSet(EVERYWHERE)

AVX512F = (float32.lowerings("avx512f.h"), blocked_elementwise.LOWERINGS)
AVX2_FMA = (float32.lowerings("avx2_fma.h"), blocked_elementwise.LOWERINGS)
NEON_F32 = (float32.lowerings("neon_f32.h"), blocked_elementwise.LOWERINGS)

AVX512 = InstructionSet(
    (
        avx512vnni.LOWERINGS,
        avx512vnni_attention.LOWERINGS,
        training_winograd.LOWERINGS,
        *AVX512F,
        *PORTABLE.tables,
    ),
    slack=(64, 64),
)


def _blocked(kernels: BlockedKernels, *floats: Rows) -> InstructionSet:
    return InstructionSet((kernels.lowerings(), *floats, *EVERYWHERE), (64, 64), kernels.elements)


INSTRUCTION_SETS: Mapping[Isa, InstructionSet] = {
    Isa.PORTABLE: PORTABLE,
    Isa.SSE2: _blocked(sse2.KERNELS),
    Isa.AVX2: _blocked(avx2.KERNELS, *AVX2_FMA),
    Isa.AVX_VNNI: _blocked(avxvnni.KERNELS, *AVX2_FMA),
    Isa.NEON: _blocked(neon.NEON, *NEON_F32),
    Isa.NEON_ARMV7: _blocked(neon.ARMV7),
    Isa.NEON_DOTPROD: _blocked(neon.NEON_DOTPROD, *NEON_F32),
    Isa.NEON_I8MM: _blocked(neon.NEON_I8MM, *NEON_F32),
    Isa.RVV: _blocked(rvv.KERNELS),
    Isa.AVX512_VNNI: AVX512,
    # The same rows: where the compiler may use VBMI, the header's byte permutes are one instruction.
    Isa.AVX512_VBMI: AVX512,
    Isa.AVX512_BF16: dataclasses.replace(AVX512, bfloat16=avx512bf16.LOWERINGS),
}


def instruction_set(isa: Isa) -> InstructionSet:
    """The row of `isa`; portable kernels, specialised by the C compiler, where it has none of its own."""
    return INSTRUCTION_SETS.get(isa, PORTABLE)
