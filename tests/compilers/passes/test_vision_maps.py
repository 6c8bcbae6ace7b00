"""Upsampling networks in NCHW, as ONNX and PyTorch write them: turned as all maps are, and quantised."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tvm
from tvm import relax

from lepton_compilers.integerize import integerize
from lepton_compilers.pipeline import front_half, run_passes
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_compilers.simplify.run import simplify
from lepton_sdk.program import Program
from lepton_sdk.program.reference import Reference

Array = npt.NDArray[Any]
SHAPE = (1, 6, 4, 5)


def upsampling_network() -> Any:
    """Transposed convolution with bias and ReLU, two resizes, their maximum, a convolution."""
    rng, builder = np.random.default_rng(0), relax.BlockBuilder()
    kernels = (rng.normal(size=(6, 7, 3, 3)) / 8).astype(np.float32)
    bias, last = (rng.normal(size=s).astype(np.float32) / 8 for s in ((1, 7, 1, 1), (4, 7, 3, 3)))
    x = relax.Var("x", relax.TensorType(SHAPE, "float32"))
    nn, resize = relax.op.nn, relax.op.image.resize2d
    with builder.function("main", [x]):
        with builder.dataflow():
            y = nn.conv2d_transpose(
                x, relax.const(kernels), strides=(2, 2), padding=(1, 1, 1, 1), output_padding=(1, 1)
            )
            y = builder.emit(relax.op.add(builder.emit(y, "up/conv"), relax.const(bias)), "up/bias")
            y = builder.emit(nn.relu(y), "up")
            smooth = builder.emit(resize(y, [12, 15], method="linear"), "smooth")
            sharp = resize(
                y,
                [12, 15],
                method="nearest_neighbor",
                coordinate_transformation_mode="asymmetric",
                rounding_method="floor",
            )
            both = builder.emit(relax.op.maximum(smooth, builder.emit(sharp, "sharp")), "both")
            y = builder.emit(nn.conv2d(both, relax.const(last), padding=(1, 1)), "last")
            output = builder.emit_output(y)
        builder.emit_func_output(output)
    main = builder.get()["main"].with_attr("num_input", 1).with_attr("output_names", ["last"])
    return tvm.IRModule({"main": main})


@pytest.fixture(scope="module")
def oracle() -> tuple[Any, Array, Array]:
    """(network, inputs [32, …], what TVM itself computes of them)."""
    module = upsampling_network()
    machine = relax.VirtualMachine(relax.build(module, "llvm"), tvm.cpu())
    inputs = np.random.default_rng(1).normal(size=(32, *SHAPE[1:])).astype(np.float32)
    results = [machine["main"](tvm.runtime.tensor(x[None])).numpy() for x in inputs]
    return module, inputs, np.concatenate(results)


def kinds(program: Program) -> list[str]:
    return [type(op).__name__ for op in program.function().operations]


def test_only_the_ends_are_turned(oracle: tuple[Any, Array, Array]) -> None:
    module, inputs, expected = oracle
    program = integerize(run_passes(module, front_half(None, None)))
    layers = ["ConvTranspose2d", "ResizeBilinear", "ResizeNearest", "Maximum", "Conv2d"]
    assert kinds(program) == ["Transpose", *layers, "Transpose"]
    found = [Reference(program).run([x[None]])[0] for x in inputs]
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-4, atol=1e-5)


def test_quantised_they_stay_int8_from_end_to_end(oracle: tuple[Any, Array, Array]) -> None:
    module, inputs, expected = oracle
    passes = front_half(QuantizationConfig(), {"x": inputs})
    program = simplify(integerize(run_passes(module, passes)))
    names = kinds(program)
    assert (names[0], names[-1]) == ("Quantize", "Dequantize")
    assert not {"Quantize", "Dequantize", "FloatKernel"} & {*names[1:-1]}
    found = np.concatenate([Reference(program).run([x[None]])[0] for x in inputs])
    assert np.linalg.norm(found - expected) < 0.03 * np.linalg.norm(expected)
