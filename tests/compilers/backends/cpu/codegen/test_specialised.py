"""Layers of equal shapes share one function, whatever their places in memory."""

from __future__ import annotations

import numpy as np

from lepton_compilers.backends import cpu
from lepton_sdk.program import Tensor, reference
from lepton_sdk.program.operations import Relu, Softmax
from lepton_targets import get_target
from support.native import Native
from support.programs import program_of

PORTABLE = get_target("x86-64")


def test_equal_layers_share_a_function_and_other_shapes_do_not() -> None:
    tensors = [Tensor(name, (2, 3), "float32") for name in ("x", "a", "b", "c", "y")]
    chain = [Relu("x", "a", 6.0), Softmax("a", None, "b"), Relu("b", "c", 6.0), Relu("c", "y", 1.0)]
    program = program_of(tensors, chain)
    artifact = cpu.lower(program, PORTABLE)
    (text,) = artifact.sources.values()
    shared = [line for line in text.splitlines() if line.startswith("LEPTON_SHARED void")]
    assert [line.split("(")[0].split()[-1].rsplit("_", 1)[0] for line in shared] == [
        "clamp_to_float",
        "softmax_float",
        "clamp_to_float",
    ]
    x = np.float32([[-1, 2, 9], [0.5, 0.25, 3]])
    (found,) = Native(program, artifact).run([x])
    np.testing.assert_allclose(found, reference.run(program, [x])[0], rtol=1e-6)
