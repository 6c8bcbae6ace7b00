"""From a trained network to a signed bundle.

    importers/     TFLite, ONNX → a Relax module; passes/ tidy it, one file a pass, pipeline.py is the list
    quantize/      calibration and quantisation of float networks; integerize/ → an exact Program
    simplify/      rewrites of the Program that change no byte; report/: `lepton report`
    differentiate.py   the training functions, by reverse mode over the Program's operations
    backends/      Program → code for one kind of target; kernels/ are the headers that code is made of
    golden.py, pack.py   proofs, then everything into a bundle; compilation.py goes the whole way

TVM is imported when a model is compiled, not when this package is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lepton_compilers.compilation import compile
    from lepton_compilers.quantize.config import QuantizationConfig

_HOMES = {"compile": "lepton_compilers.compilation", "QuantizationConfig": "lepton_compilers.quantize.config"}

__all__ = ["QuantizationConfig", "compile"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lepton_compilers' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
