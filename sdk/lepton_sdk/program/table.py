"""The printed form of a program: a row an operation, plain text."""

from __future__ import annotations

from lepton_sdk.program.program import Function, Program
from lepton_sdk.program.tensors import Tensor


def describe(tensor: Tensor) -> str:
    """`int8 1×32×32×16` and, where quantised as a whole, its scale and zero point."""
    text = f"{tensor.dtype} {'×'.join(map(str, tensor.shape)) or 'scalar'}"
    if tensor.quantization is not None and tensor.quantization.axis is None:
        text += f" ({tensor.quantization.scale:.6g}, {tensor.zero_point})"
    return text


def rows(program: Program, function: str = "infer") -> list[dict[str, str | int]]:
    """One mapping an operation: step, operation, output, result, macs, bytes."""
    tensors = program.tensors
    return [
        {
            "step": step,
            "operation": type(op).__name__,
            "output": ", ".join((*op.outputs, *op.updates)),
            "result": "; ".join(describe(tensors[name]) for name in (*op.outputs, *op.updates)),
            "reads": ", ".join(op.inputs),
            "macs": op.macs(tensors),
            "bytes": op.bytes_moved(tensors),
        }
        for step, op in enumerate(program.function(function).operations)
    ]


def show(program: Program) -> str:
    """Every function as an aligned table."""
    return "\n\n".join(_function_text(program, f) for f in program.functions.values())


def _function_text(program: Program, function: Function) -> str:
    header = ("step", "operation", "output", "result", "macs", "bytes")
    lines = [header, *(tuple(str(row[c]) for c in header) for row in rows(program, function.name))]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    ends = [f"{n}: {describe(program.tensors[n])}" for n in (*function.inputs, *function.outputs)]
    split = len(function.inputs)
    title = f"{function.name}({', '.join(ends[:split])}) → {', '.join(ends[split:])}"
    return "\n".join(
        [title, *("  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip() for line in lines)]
    )
