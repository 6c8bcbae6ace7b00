"""The C side of the runtime, shipped as source: what a device without Python builds and links.

lepton_parallel.h   how generated code hands out work: a struct that the caller fills
lepton_pool.h       one way to fill it: threads that spin briefly, then sleep; no C library
"""

from __future__ import annotations

import importlib.resources


def source(name: str) -> str:
    """Text of a C file of this package."""
    return importlib.resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
