"""Whether every layer has an operation, before anything is run."""

from __future__ import annotations

from typing import Any

from lepton_compilers.integerize import integerize


def check_layers(module: Any) -> Any:
    """The module as it is. Raises UnsupportedOperatorError with all layers that have no operation.

    Before calibration, which compiles the network with TVM to observe it: TVM fails there on what it can't
    compile either, with its own words and without the layer's name, and after the user has waited.
    """
    integerize(module)
    return module
