"""Relax operators without a typed operation: the loops TVM gives against the reference's numpy rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tvm import relax
from tvm.relax import op

from lepton_compilers.backends import No, cpu
from lepton_compilers.integerize import integerize
from lepton_sdk.program import Function, Program, Tensor, reference, serialize
from lepton_sdk.program.float_kernel import FloatKernel, encoded
from lepton_targets import get_target
from lepton_targets.errors import UnsupportedOperatorError
from support.native import Native
from support.relax_layers import module_of, tensor

Layer = Callable[..., Any]
RNG = np.random.default_rng(5)


def const(*shape: int) -> Any:
    return relax.const(RNG.normal(size=shape).astype(np.float32))


def integers(*values: int) -> Any:
    return relax.const(np.array(values, np.int64))


FLOAT_LAYERS: dict[str, tuple[tuple[int, ...], Layer]] = {
    "standard deviation": ((2, 3, 4), lambda x: op.std(x, axis=[1])),
    "slice backwards": ((2, 3, 4), lambda x: op.strided_slice(x, [1, 2], [2, 0], [-5, 4], [-1, 2])),
    "take": ((2, 3, 4), lambda x: op.take(x, integers(2, 0), axis=1, mode="clip")),
    "split": ((2, 3, 4), lambda x: op.split(x, 2, 2)),
    "split at": ((2, 3, 4), lambda x: op.split(x, [1], 2)),
    "erf": ((2, 3, 4), op.erf),
    "gelu": ((2, 3, 4), op.nn.gelu),
    "power": ((2, 3, 4), lambda x: op.power(op.exp(x), relax.const(2.5, "float32"))),
    "cast": ((2, 3, 4), lambda x: op.astype(x, "int32")),
    "double": ((2, 3, 4), lambda x: op.sqrt(op.exp(op.astype(x, "float64")))),
    "compare": ((2, 3, 4), lambda x: op.greater(x, relax.const(0.1, "float32"))),
    "mask": (
        (2, 3, 4),
        lambda x: op.where(relax.const(np.array([True, False] * 2)), x, relax.const(-np.inf, "float32")),
    ),
    "argmax": ((2, 3, 4), lambda x: op.argmax(x, 1)),
    "batched matmul": ((2, 3, 4), lambda x: op.matmul(x, const(2, 4, 5))),
    "layer norm": ((2, 3, 4), lambda x: op.nn.layer_norm(x, const(4), const(4), axes=[-1])),
    "conv1d": ((2, 3, 9), lambda x: op.nn.conv1d(x, const(5, 3, 2), padding=1, strides=2)),
    "conv3d": ((1, 3, 4, 5, 6), lambda x: op.nn.conv3d(x, const(5, 3, 2, 2, 2), padding=1)),
    "conv2d transpose": (
        (1, 3, 4, 5),
        lambda x: op.nn.conv2d_transpose(x, const(3, 2, 3, 3), strides=2, padding=1, output_padding=1),
    ),
    "max pool 3d": ((1, 3, 4, 5, 6), lambda x: op.nn.max_pool3d(x, (2, 2, 2), (2, 2, 2))),
    "average pool with ceil": ((1, 3, 8), lambda x: op.nn.avg_pool1d(x, 3, 2, 1, ceil_mode=True)),
    "gather nd": (
        (2, 3, 4),
        lambda x: op.gather_nd(x, relax.const(np.array([[0, 1], [1, 2]]), "int64")),
    ),
    "tile": ((2, 3, 4), lambda x: op.tile(x, (2, 1, 2))),
    "einsum of itself": ((2, 3, 4), lambda x: op.einsum((x, x), "abc,abd->acd")),
    "triangle": ((2, 3, 4), lambda x: op.triu(x, 1)),
    "sum": ((2, 3, 4), lambda x: op.sum(x, [0, 2], keepdims=True)),
    "log softmax": ((2, 3, 4), lambda x: op.nn.log_softmax(x, 1)),
    "reflected border": ((2, 3, 4), lambda x: op.nn.pad(x, [0, 0, 1, 1, 2, 1], "reflect")),
}
INTEGER_LAYERS: dict[str, Layer] = {
    "sum": lambda x: op.add(x, x),
    "quotient towards zero": lambda x: op.divide(x, relax.const(3, "int64")),
    "remainder as floored": lambda x: op.floor_mod(x, relax.const(3, "int64")),
    "shift": lambda x: op.left_shift(op.abs(x), relax.const(3, "int64")),
    "clip": lambda x: op.clip(x, -2, 3),
    "one hot": lambda x: op.one_hot(x, relax.prim_value(1), relax.prim_value(0), 5, -1),
}


def both(layer: Layer, x: np.ndarray) -> None:
    """Native against reference, through the bytes of the program."""
    given = tensor("x", x.shape, x.dtype.name)
    program = serialize.load(serialize.dump(integerize(module_of(layer, given))))
    found = Native(program, cpu.lower(program, get_target("x86-64"))).run([x])
    for a, b in zip(found, reference.run(program, [x]), strict=True):
        assert a.dtype == b.dtype
        if a.dtype.kind == "f":
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", FLOAT_LAYERS)
def test_float_layers(name: str) -> None:
    shape, layer = FLOAT_LAYERS[name]
    both(layer, np.random.default_rng(1).normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("name", INTEGER_LAYERS)
def test_integer_layers(name: str) -> None:
    both(INTEGER_LAYERS[name], np.array([3, -1, 0, 4, -7], np.int64))


def test_single_results_of_several_may_be_read_alone() -> None:
    def second(x: Any) -> Any:
        return relax.TupleGetItem(op.split(x, 2, 1), 1)

    both(second, np.arange(12, dtype=np.float32).reshape(3, 4))


def test_an_operator_that_tvm_gives_no_loops_for_is_an_honest_no() -> None:
    kernel = FloatKernel("relax.unknown", encoded([{"x": 0}], {}, None), ("x",), ("y",))
    tensors = {name: Tensor(name, (2,), "float32") for name in "xy"}
    answer = cpu.supports(kernel, tensors, get_target("x86-64"))
    assert isinstance(answer, No)
    assert "relax.unknown" in answer.reason


def test_the_reference_names_the_kernel_it_has_no_rule_for() -> None:
    kernel = FloatKernel("relax.unknown", encoded([{"x": 0}], {}, None), ("x",), ("y",))
    tensors = {name: Tensor(name, (2,), "float32") for name in "xy"}
    program = Program({"infer": Function("infer", ("x",), ("y",), (kernel,))}, tensors)
    with pytest.raises(UnsupportedOperatorError, match=r"relax\.unknown"):
        reference.run(program, [np.zeros(2, np.float32)])
