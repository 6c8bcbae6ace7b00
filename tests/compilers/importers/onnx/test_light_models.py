"""The networks that the onnx package carries (weights left out), with random weights, against ONNX Runtime.

As a program it says what one costs:  python tests/compilers/importers/onnx/test_light_models.py light_vgg19
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper

from lepton_compilers.backends import backend_for
from lepton_compilers.front import program_from
from lepton_targets import get_target

sys.path.insert(0, str(Path(__file__).parents[3]))

from support.native import Native

Array = npt.NDArray[Any]

MODELS = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
NAMES = (
    "light_bvlc_alexnet",
    "light_densenet121",
    "light_inception_v1",
    "light_inception_v2",
    "light_resnet50",
    "light_shufflenet",
    "light_squeezenet",
    "light_vgg19",
    "light_zfnet512",
)


def with_weights(name: str) -> Any:
    """The model with random weights where it has one constant for each, without its softmax.

    Equal weights would hide a wrong order, and a softmax of a thousand classes most of a difference.
    """
    model = onnx.load(MODELS / f"{name}.onnx")
    graph = model.graph
    rng = np.random.default_rng(0)
    shapes = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    variances = {n.input[4] for n in graph.node if n.op_type == "BatchNormalization"}
    scales = {n.input[1] for n in graph.node if n.op_type == "BatchNormalization"}
    kept = []
    for node in graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        extents = tuple(int(n) for n in shapes[node.input[0]])
        fan = float(np.sqrt(2 / max(np.prod(extents[1:]), 1))) if len(extents) > 1 else 0.1
        array = (rng.standard_normal(extents) * fan).astype(np.float32)
        if node.output[0] in variances | scales:
            array = 1 + np.abs(array)
        graph.initializer.append(numpy_helper.from_array(array, node.output[0]))
    del graph.node[:]
    if kept[-1].op_type == "Softmax":
        graph.output[0].name = kept[-1].input[0]
        kept = kept[:-1]
    graph.node.extend(kept)
    # Before IR 4 every initialiser was an input as well.
    model.ir_version = 8
    for item in [item for item in graph.input if item.name in shapes]:
        graph.input.remove(item)
    return model


def compiled(content: bytes) -> tuple[Native, dict[str, float]]:
    """The network on the portable target, and seconds and MiB of its compilation."""
    start, row = time.monotonic(), get_target("x86-64")
    program = program_from(content)
    imported = time.monotonic()
    artifact = backend_for(row).lower(program, row)
    costs = {
        "import_s": imported - start,
        "lower_s": time.monotonic() - imported,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "compiler_peak_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }
    return Native(program, artifact), costs


def difference(name: str) -> tuple[float, dict[str, float]]:
    """The largest difference from ONNX Runtime over the largest value, and the compilation's costs."""
    runtime = pytest.importorskip("onnxruntime")
    content = with_weights(name).SerializeToString()
    native, costs = compiled(content)
    (x,) = (native.program.tensors[i] for i in native.program.function().inputs)
    sample = np.random.default_rng(1).standard_normal(x.shape).astype(np.float32)
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {x.name: sample})
    (found,) = native.run([sample])
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max()), costs


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_network_agrees_with_onnx_runtime(name: str) -> None:
    assert difference(name)[0] <= 1e-4


if __name__ == "__main__":
    for wanted in sys.argv[1:] or NAMES:
        found, cost = difference(wanted)
        print(wanted, f"{found:.1e}", {key: round(value, 1) for key, value in cost.items()}, flush=True)
