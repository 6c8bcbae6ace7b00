"""The kernels' C headers: their text, what they stand on, in which order they are compiled as one unit."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterable

HEADER_ORDER = (
    "portable.h",
    "mathematics.h",
    "halves.h",
    "ordering.h",
    "suppression.h",
    "sampling.h",
    "elementwise.h",
    "vision.h",
    "int16.h",
    "detection.h",
    "sequence.h",
    "int8_fours.h",
    "recurrent.h",
    "recurrent_f32.h",
    "training_portable.h",
    "training_few_channels.h",
    "training_updates.h",
    "training_winograd.h",
    "finish.h",
    "avx512vnni.h",
    "avx512vnni_matmul.h",
    "avx512vnni_softmax.h",
    "sse2.h",
    "avx2_lanes.h",
    "avx2.h",
    "avxvnni.h",
    "pairs.h",
    "broadcast_tiles.h",
    "neon_lanes.h",
    "neon_dotprod_depthwise.h",
    "neon.h",
    "neon_dotprod.h",
    "neon_i8mm.h",
    "rvv.h",
    "tap_tiles.h",
    "blocked.h",
    "winograd_pairs.h",
    "avx512f.h",
    "avx2_fma.h",
    "neon_f32.h",
    "blocked_f32.h",
    "winograd_f32.h",
    "avx512bf16.h",
    "avx512bf16_winograd.h",
)
"""A header may use what stands in earlier ones."""
STANDS_ON = {
    "int16.h": {"elementwise.h", "vision.h"},
    "suppression.h": {"ordering.h"},
    "sequence.h": {"mathematics.h"},
    "recurrent.h": {"mathematics.h", "elementwise.h", "sequence.h", "int8_fours.h"},
    "recurrent_f32.h": {"mathematics.h", "elementwise.h"},
    "training_few_channels.h": {"training_portable.h"},
    "training_updates.h": {"training_portable.h"},
    "avx512vnni.h": {"finish.h"},
    "avx512vnni_matmul.h": {"finish.h", "avx512vnni.h"},
    "avx512vnni_softmax.h": {"finish.h", "avx512vnni.h", "avx512vnni_matmul.h"},
    "sse2.h": {"finish.h", "pairs.h", "broadcast_tiles.h", "blocked.h", "winograd_pairs.h"},
    "avx2.h": {
        "finish.h",
        "avx2_lanes.h",
        "pairs.h",
        "broadcast_tiles.h",
        "blocked.h",
        "winograd_pairs.h",
    },
    "avxvnni.h": {"finish.h", "avx2_lanes.h", "broadcast_tiles.h", "blocked.h"},
    "avx512f.h": {"blocked_f32.h", "winograd_f32.h"},
    "avx512bf16.h": {"avx512f.h", "blocked_f32.h"},
    "avx512bf16_winograd.h": {"avx512f.h", "blocked_f32.h", "avx512bf16.h"},
    "avx2_fma.h": {"blocked_f32.h", "winograd_f32.h"},
    "neon_f32.h": {"blocked_f32.h", "winograd_f32.h"},
    "rvv.h": {"finish.h", "tap_tiles.h", "blocked.h"},
    "neon.h": {"finish.h", "neon_lanes.h", "blocked.h"},
    "neon_dotprod.h": {"finish.h", "neon_lanes.h", "neon_dotprod_depthwise.h", "tap_tiles.h", "blocked.h"},
    "neon_i8mm.h": {"finish.h", "neon_lanes.h", "neon_dotprod_depthwise.h", "tap_tiles.h", "blocked.h"},
}
"""Headers that need another than portable.h, before or after them."""


def kernel_header(name: str) -> str:
    """Text of a file under kernels/."""
    return importlib.resources.files("lepton_compilers.kernels").joinpath(name).read_text(encoding="utf-8")


def ordered_headers(headers: Iterable[str]) -> list[str]:
    """The headers with those they stand on, each after what it uses."""
    named = {"portable.h", *headers}
    wanted = named.union(*(STANDS_ON.get(name, ()) for name in named))
    unknown = wanted - {*HEADER_ORDER}
    if unknown:
        raise ValueError(f"headers {sorted(unknown)} have no place in HEADER_ORDER")
    return [name for name in HEADER_ORDER if name in wanted]
