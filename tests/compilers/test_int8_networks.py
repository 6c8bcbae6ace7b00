"""The int8 networks of MLPerf Tiny: importer → Program → reference executor gives LiteRT's bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lepton_compilers.front import program_from
from lepton_sdk.program.reference import Reference
from support.evaluation_data import INT8_NETWORKS, committed_kws, evaluation_file, kws_samples, mlperf_tiny
from support.litert import LiteRT
from support.structured_inputs import as_int8, structured_images, structured_vectors
from support.tflite_cut import before_softmax, without_last

Array = npt.NDArray[Any]

SAMPLES = {"resnet8": 64, "vww": 32, "ad": 200, "wake_word": 200}


def inputs(network: str) -> Array:
    """int8 [n, *input shape without its batch]."""
    if network == "kws":
        return kws_samples()[0]
    if network == "resnet8":
        return as_int8(structured_images(SAMPLES[network], (32, 32, 3)))
    if network == "vww":
        return as_int8(structured_images(SAMPLES[network], (96, 96, 3)))
    if network == "ad":
        return as_int8(structured_vectors(SAMPLES[network], (640,)))
    waves = as_int8(structured_vectors(SAMPLES[network], (30, 1, 40)))
    with np.load(evaluation_file("mlperf_tiny", "str_ww_calibration_samples.npz")) as recorded:
        arrays = [a for a in recorded.values() if a.size % (30 * 40) == 0 and a.dtype.kind == "f"]
    if not arrays:
        return waves
    real = np.concatenate([a.reshape(-1, 30, 1, 40) for a in arrays])[:200]
    unit = (real - real.min()) / np.ptp(real)
    return np.concatenate([waves, as_int8(unit)])


def agreement(content: bytes, samples: Array) -> tuple[float, int, int]:
    """(fraction of equal bytes, largest step, distinct outputs) of the reference against LiteRT."""
    oracle, reference = LiteRT(content), Reference(program_from(content))
    equal = total = largest = 0
    distinct = set()
    for sample in samples:
        expected, found = oracle.run(sample[None]), reference.run([sample[None]])[0]
        equal += int((expected == found).sum())
        total += expected.size
        largest = max(largest, int(np.abs(expected.astype(int) - found).max()))
        distinct.add(found.tobytes())
    return equal / total, largest, len(distinct)


@pytest.mark.parametrize("network", INT8_NETWORKS)
def test_whole_network_gives_litert_bytes(network: str) -> None:
    content = mlperf_tiny(INT8_NETWORKS[network]).read_bytes()
    equal, largest, distinct = agreement(content, inputs(network))
    print(f"{network}: {equal:.4%} of bytes equal, step {largest}, {distinct} distinct outputs")
    assert equal >= 0.999
    assert largest <= 1
    assert distinct > 3


@pytest.mark.parametrize("network", [n for n in INT8_NETWORKS if n != "ad"])
def test_network_cut_before_its_softmax_gives_litert_bytes(network: str) -> None:
    samples = inputs(network)
    content = before_softmax(mlperf_tiny(INT8_NETWORKS[network]).read_bytes())
    equal, largest, distinct = agreement(content, samples)
    print(f"{network} logits: {equal:.4%} of bytes equal, step {largest}, {distinct} distinct outputs")
    assert equal >= 0.999
    assert largest <= 1
    # A saturated output would prove little. VWW has but two logits.
    assert distinct >= 0.6 * len(samples)


@pytest.mark.parametrize("network", ["kws", "resnet8", "vww"])
def test_network_cut_at_its_last_feature_map_gives_litert_bytes(network: str) -> None:
    samples = inputs(network)[:64]
    # Softmax, dense layer, reshape and pool go.
    content = without_last(mlperf_tiny(INT8_NETWORKS[network]).read_bytes(), 4)
    assert len(LiteRT(content).run(samples[:1]).shape) == 4
    equal, largest, distinct = agreement(content, samples)
    print(f"{network} map: {equal:.4%} of bytes equal, step {largest}, {distinct} distinct outputs")
    assert equal >= 0.999
    assert largest <= 1
    assert distinct == len(samples)


def test_committed_kws_model_on_its_committed_samples() -> None:
    path, features, labels = committed_kws()
    reference = Reference(program_from(path))
    classes = [int(reference.run([x[None]])[0].argmax()) for x in features]
    assert np.mean(classes == labels) >= 0.85
    equal, largest, _ = agreement(path.read_bytes(), features)
    assert equal >= 0.999
    assert largest <= 1


def test_kws_program_is_what_the_network_is() -> None:
    program = program_from(committed_kws()[0])
    assert [type(op).__name__ for op in program.function().operations] == [
        *["Conv2d", "DepthwiseConv2d"] * 4,
        "Conv2d",
        "AveragePool2d",
        "Reshape",
        "Dense",
        "Softmax",
    ]
    assert program.macs() == 2_656_768
    assert program.function().inputs == ("input_1",)
    assert program.tensors["input_1"].quantization is not None
