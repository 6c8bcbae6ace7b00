"""int8 layers of sequence models as TFLite writes them: our integers against LiteRT's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as s

from lepton_compilers.front import program_from
from lepton_sdk.program.reference import Reference
from support.litert import LiteRT
from support.tflite_layers import Spec, layer

OPS, OPTIONS = s.BuiltinOperator, s.BuiltinOptions
EVERY_BYTE = np.arange(-128, 128, dtype=np.int8)[None]


@pytest.mark.parametrize("scale", [0.03, 0.1, 0.25])
@pytest.mark.parametrize(("builtin", "y"), [(OPS.LOGISTIC, (1 / 256, -128)), (OPS.TANH, (1 / 128, 0))])
def test_functions_are_litert_tables(builtin: int, y: tuple[float, int], scale: float) -> None:
    x = Spec("x", (1, 256), scales=(scale,), zero_point=3)
    content = layer(builtin, None, OPTIONS.NONE, [x], Spec("y", (1, 256), scales=y[:1], zero_point=y[1]))
    program = program_from(content)
    assert [type(op).__name__ for op in program.function().operations] == ["Table"]
    np.testing.assert_array_equal(Reference(program).run([EVERY_BYTE])[0], LiteRT(content).run(EVERY_BYTE))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("zeros", [(0, 0), (5, 0), (5, -7)])
def test_products_of_two_tensors(zeros: tuple[int, int], turned: bool) -> None:
    rng = np.random.default_rng(1)
    shapes = (2, 7, 33), (2, 9, 33) if turned else (2, 33, 9)
    a, b = (
        Spec(name, shape, scales=(scale,), zero_point=zero)
        for name, shape, scale, zero in zip("ab", shapes, (0.05, 0.02), zeros)
    )
    y = Spec("y", (2, 7, 9), scales=(0.3,), zero_point=3)
    fields: Any = s.BatchMatMulOptionsT()
    fields.adjX, fields.adjY = False, turned
    content = layer(OPS.BATCH_MATMUL, fields, OPTIONS.BatchMatMulOptions, [a, b], y, version=2)
    program = program_from(content)
    (op,) = program.function().operations
    assert (type(op).__name__, op.transpose_b) == ("MatMul", turned)  # type: ignore[attr-defined]
    arrays = [rng.integers(-128, 128, spec.shape).astype(np.int8) for spec in (a, b)]
    found, expected = Reference(program).run(arrays)[0], LiteRT(content).run_all(arrays)[0]
    # LiteRT multiplies by a fixed-point number of 31 bits: a result that lies on a tie may go the other way.
    steps = np.abs(found.astype(int) - expected)
    assert steps.max() <= 1
    assert np.count_nonzero(steps) <= steps.size // 50


def test_softmax_at_another_scale_is_followed_by_a_table() -> None:
    x = Spec("x", (3, 12), scales=(0.11,), zero_point=4)
    y = Spec("y", (3, 12), scales=(1 / 200,), zero_point=-100)
    relabelled = Spec("plain", (3, 12), scales=(1 / 256,), zero_point=-128)
    fields: Any = s.SoftmaxOptionsT()
    fields.beta = 1.0
    samples = np.random.default_rng(2).integers(-128, 128, (3, 12)).astype(np.int8)
    program = program_from(layer(OPS.SOFTMAX, fields, OPTIONS.SoftmaxOptions, [x], y, version=2))
    assert [type(op).__name__ for op in program.function().operations] == ["Softmax", "Table"]
    plain = LiteRT(layer(OPS.SOFTMAX, fields, OPTIONS.SoftmaxOptions, [x], relabelled, version=2)).run(
        samples
    )
    real = (plain.astype(float) + 128) / 256
    expected = np.clip(np.rint(real / float(np.float32(1 / 200))) - 100, -128, 127)
    np.testing.assert_array_equal(Reference(program).run([samples])[0], expected)
