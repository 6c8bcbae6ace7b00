"""From a trained network to a signed bundle, or to a C project.

    importers/     TFLite, ONNX, PyTorch → a Relax module; passes/ tidy it, a file a pass
    quantize/      calibration and quantisation of float networks; integerize/ → an exact Program
    simplify/      rewrites of the Program that change no byte
    front.py       all of that in one call: model file → Program; pipeline.py: the list of passes
    differentiate.py   the training functions, by reverse mode over the Program's operations; loss.py: what
                   they minimise; tape.py: where both are written down; batch.py: other batch sizes
    backends/      Program → code for one kind of target (artifact.py); kernels/: headers it is made of
    arena.py       one block for every intermediate; peak.py: how much a program needs, whatever the target
    golden.py, pack.py   proofs, then everything into a bundle; compilation.py goes the whole way
    c_project/     the same as C to compile elsewhere
    cli.py         `lepton compile`, output_cli.py what it shows; report/: `lepton report`
    quiet.py       TVM's own words, to the debug log

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
