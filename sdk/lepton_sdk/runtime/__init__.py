"""The C side of the runtime, shipped as source: what a device without Python builds and links.

lepton_parallel.h   how generated code hands out work: a struct that the caller fills
lepton_pool.h       one way to fill it: threads that spin briefly, then sleep; no C library
lepton_stamps.h     a clock of the caller's, which timed code reads between its steps
lepton_threads.h    POSIX threads for that pool (lepton_threads.c)
lepton_runtime.h    a model as a table of constants, and sessions of it: names, runs, reset, self-test
                    (lepton_runtime.c)
lepton_bundle.h     such a table made of a bundle's file (lepton_bundle.c, lepton_json.h,
                    lepton_sha256.h, lepton_targets.h)
"""

from __future__ import annotations

import importlib.resources


def source(name: str) -> str:
    """Text of a C file of this package."""
    return importlib.resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
