"""How precisely float32 operations multiply: what a user allows, and what each target makes of it.

`bf16` is leave, not an order, as in oneDNN's, OpenVINO's and ONNX Runtime's settings of that kind: a target
whose CPUs multiply bfloat16 does so, any other computes in float32. Where none of the targets can, that is an
error: nothing would come of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from lepton_compilers.backends.contract import backend_for
from lepton_sdk.program import Program
from lepton_sdk.program.bfloat16 import multiplies
from lepton_targets import Target, targets
from lepton_targets.errors import UnavailableError, UsageError

PRECISIONS = ("float32", "bf16")


def checked_precision(name: str) -> str:
    """The name. Raises UsageError for one that is not among PRECISIONS."""
    if name not in PRECISIONS:
        raise UsageError(f"--precision is '{name}'; accepted: {', '.join(PRECISIONS)}")
    return name


def precision_on(target: Target, allowed: str) -> str:
    """What a target makes of what is allowed."""
    return allowed if allowed in backend_for(target).precisions(target) else "float32"


def precisions_by_target(
    program: Program, rows: Sequence[Target], allowed: str, tuned: bool = False
) -> dict[str, str]:
    """`float32` or `bf16` by target's name. tuned: whether tiles are to be searched, or read from a file.

    Raises UsageError where the program has no products to compute so or is trained, UnavailableError where no
    target could.
    """
    found = {row.name: precision_on(row, checked_precision(allowed)) for row in rows}
    if allowed == "float32":
        return found
    if allowed not in found.values():
        able = [row.name for row in targets() if row.available and _able(row, allowed)]
        raise UnavailableError(
            f"no CPU of {', '.join(found)} multiplies bfloat16",
            f"targets that do: {', '.join(able)}",
            "leave  --precision bf16  out to compute in float32",
        )
    if tuned:
        raise UsageError(
            "tiles are searched for float32 and int8 products, not for those of bfloat16",
            "leave  --tune  and  --tuning  out, or  --precision bf16",
        )
    if any(variable.trainable for variable in program.variables):
        raise UsageError(
            "training computes in float32; its weights change and can't be rounded when a model is compiled",
            "compile two bundles of the one model: --trainable for training, --precision bf16 for inference",
        )
    variables = program.variable_ids
    if not any(
        multiplies(op, program.tensors, variables)
        for function in program.functions.values()
        for op in function.operations
    ):
        raise UsageError(
            "--precision bf16 is about convolutions and dense layers of float32, and the model has none",
            "leave it out",
        )
    return found


def _able(row: Target, allowed: str) -> bool:
    try:
        return precision_on(row, allowed) == allowed
    except UnavailableError:
        return False
