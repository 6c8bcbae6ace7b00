"""What bfloat16 products mean: which operations round their operands, and which maps are kept rounded.

`spelled_out` gives the float32 program that computes the same, with every rounding as an operation: what code
for CPUs that multiply bfloat16 is tested against, up to the order of its sums (docs/arithmetic.md).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from lepton_sdk.program.bfloat16_winograd import transformed_weight, transforms
from lepton_sdk.program.float_kernel import FloatKernel, encoded
from lepton_sdk.program.operations import Add, ClampTo, Conv2d, Dense, GroupedConv2d, Operation
from lepton_sdk.program.program import Function, Program
from lepton_sdk.program.tensors import Tensor, TensorId, Tensors, constant
from lepton_sdk.program.vision import ConvTranspose2d

Multiplying = Conv2d | GroupedConv2d | ConvTranspose2d | Dense

_SMALLEST_NORMAL = np.float32(2.0**-126)


def rounded(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The nearest bfloat16 of every float32, ties to even, as float32; subnormals become zero, NaN stays."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    halves = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
    normal = np.where(np.abs(x) < _SMALLEST_NORMAL, np.copysign(np.float32(0), x), halves.view(np.float32))
    return np.where(np.isnan(x), x, normal).astype(np.float32).reshape(x.shape)


def multiplies(op: Operation, t: Tensors, variables: Collection[TensorId] = ()) -> bool:
    """Whether the operation's products may be of bfloat16: a convolution or dense layer of float32.

    Weights and bias must be constants. In groups only 1 × 1 at stride 1; depthwise layers stay float32.
    """
    if not isinstance(op, Multiplying) or op.multiplier is not None or t[op.x].dtype != "float32":
        return False
    if isinstance(op, GroupedConv2d) and (
        t[op.weight].shape[1:3] != (1, 1) or op.stride != (1, 1) or op.padding
    ):
        return False
    held = (op.weight, *([op.bias] if op.bias else []))
    return all(t[name].value is not None and name not in variables for name in held)


def kept(function: Function, t: Tensors, variables: Collection[TensorId] = ()) -> frozenset[TensorId]:
    """Maps that are bfloat16 wherever they are read: results of such a convolution, or of a sum of two maps,
    that such an operation reads and the function does not return. Transposed ones give float32.
    """
    multiplying = [op for op in function.operations if multiplies(op, t, variables)]
    made = {op.y for op in multiplying if isinstance(op, Conv2d | GroupedConv2d)}
    made |= {
        op.y
        for op in function.operations
        if isinstance(op, Add) and t[op.y].dtype == "float32" and t[op.a].shape == t[op.b].shape
    }
    read = {op.x for op in multiplying if isinstance(op, Multiplying) and len(t[op.x].shape) == 4}
    return frozenset(made & read - set(function.outputs))


def spelled_out(program: Program) -> Program:
    """The program in float32 with each rounding to bfloat16 as an operation of its own."""
    tensors, functions = dict(program.tensors), {}
    variables = program.variable_ids
    for function in program.functions.values():
        operations: list[Operation] = []
        narrow: dict[TensorId, TensorId] = {}
        keeps = kept(function, program.tensors, variables)

        def operand(
            name: TensorId,
            narrow: dict[TensorId, TensorId] = narrow,
            operations: list[Operation] = operations,
        ) -> TensorId:
            if name not in narrow:
                narrow[name] = f"{name}/bfloat16"
                operations.append(_rounding(name, narrow[name], tensors))
            return narrow[name]

        for op in function.operations:
            if multiplies(op, program.tensors, variables):
                assert isinstance(op, Multiplying)
                x = op.x if op.x in keeps else operand(op.x)
                if isinstance(op, Conv2d) and transforms(op, program.tensors):
                    operations += _transformed(dataclasses.replace(op, x=x), op.y in keeps, tensors)
                    continue
                weight = f"{op.weight}/bfloat16"
                value = program.tensors[op.weight].value
                assert value is not None  # it multiplies
                tensors[weight] = constant(weight, rounded(value))
                op = dataclasses.replace(op, x=x, weight=weight)
            if isinstance(op, Add | Multiplying) and op.y in keeps:
                unrounded = _beside(op.y, "float32", tensors)
                operations.append(dataclasses.replace(op, y=unrounded))
                operations.append(_rounding(unrounded, op.y, tensors))
            else:
                operations.append(op)
        functions[function.name] = dataclasses.replace(function, operations=tuple(operations))
    return Program(functions, tensors, program.variables)


def _transformed(op: Conv2d, keeps: bool, tensors: dict[TensorId, Tensor]) -> list[Operation]:
    """A convolution in Winograd's form, of a rounded operand: its tiles and weights are rounded too."""
    (n, height, width, o), c = tensors[op.y].shape, tensors[op.x].shape[3]
    value, p = tensors[op.weight].value, op.padding
    assert value is not None  # it multiplies
    weight, bias = f"{op.weight}/transformed", op.bias or f"{op.y}/bias"
    tensors[weight] = constant(weight, rounded(transformed_weight(value)))
    if not op.bias:
        tensors[bias] = constant(bias, np.zeros(o, np.float32))
    tiles = f"{op.y}/tiles"
    tensors[tiles] = Tensor(tiles, (n, -(-height // 2), -(-width // 2), 4, 4, c), "float32")
    size = {"height": height, "width": width}
    border = {"padding": [p.top, p.bottom, p.left, p.right], **size}
    sums, bounded = (_beside(op.y, form, tensors) for form in ("sums", "float32"))
    steps: list[Operation] = [
        FloatKernel("lepton.winograd_tiles", encoded([{"x": 0}], border, None), (op.x,), (tiles,)),
        _rounding(tiles, f"{tiles}/bfloat16", tensors),
    ]
    operands = (f"{tiles}/bfloat16", weight, bias)
    arguments = encoded([{"x": i} for i in range(3)], size, None)
    last = bounded if keeps else op.y
    steps.append(FloatKernel("lepton.winograd_products", arguments, operands, (sums if op.clamp else last,)))
    if op.clamp:
        steps.append(ClampTo(sums, last, op.clamp))
    if keeps:
        steps.append(_rounding(last, op.y, tensors))
    return steps


def _beside(name: TensorId, form: str, tensors: dict[TensorId, Tensor]) -> TensorId:
    """Another tensor like that one."""
    tensors[f"{name}/{form}"] = dataclasses.replace(tensors[name], name=f"{name}/{form}")
    return f"{name}/{form}"


def _rounding(x: TensorId, y: TensorId, tensors: dict[TensorId, Tensor]) -> FloatKernel:
    tensors[y] = dataclasses.replace(tensors[x], name=y, value=None)
    return FloatKernel("lepton.round_bfloat16", encoded([{"x": 0}], {}, None), (x,), (y,))
