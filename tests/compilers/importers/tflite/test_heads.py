"""Whole TFLite networks as they are deployed, against LiteRT: detectors, blocks of MobileNet v3, streams."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lepton_compilers import compile
from lepton_compilers.backends import cpu
from lepton_compilers.front import program_from
from lepton_sdk import Session
from lepton_sdk.program import Program
from lepton_sdk.program.reference import Reference
from lepton_targets import get_target
from support.litert import LiteRT
from support.native import Native
from support.tflite_heads import (
    int8_sequence_lstm,
    mobilenet_v3_block,
    post_processing_alone,
    segmentation_head,
    sequence_lstm,
    ssd_network,
    streaming_network,
)

Array = npt.NDArray[Any]


def native(program: Program) -> Native:
    return Native(program, cpu.lower(program, get_target("host")))


def int8(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.integers(-128, 128, shape).astype(np.int8)


def kinds(program: Program) -> set[str]:
    return {type(op).__name__ for op in program.function().operations}


@pytest.mark.parametrize(
    "how",
    [{}, {"each": 2}, {"regular": True}, {"regular": True, "per_class": 2, "detections": 7}],
    ids=["fast", "two classes a box", "regular", "few of a class"],
)
def test_detections_are_those_of_litert(how: dict[str, Any]) -> None:
    content = post_processing_alone(200, 5, **how)
    program, oracle = program_from(content), LiteRT(content)
    engines, rng = (Reference(program), native(program)), np.random.default_rng(0)
    for _ in range(5):
        encoded = 2 * rng.normal(size=(1, 200, 4)).astype(np.float32)
        scores = rng.uniform(0, 1, (1, 200, 6)).astype(np.float32) ** 3
        expected = oracle.run_all([encoded, scores])
        assert expected[3][0] >= 7
        for engine in engines:
            for a, b in zip(engine.run([encoded, scores]), expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_no_box_above_the_threshold_gives_zeros() -> None:
    program = program_from(post_processing_alone(50, 3))
    inputs = [np.ones((1, 50, 4), np.float32), np.full((1, 50, 4), 0.1, np.float32)]
    for engine in (Reference(program), native(program)):
        assert not any(array.any() for array in engine.run(inputs))


def test_a_detector_of_int8_layers_and_float_post_processing() -> None:
    content = ssd_network()
    program, oracle = program_from(content), LiteRT(content)
    assert {"Conv2d", "DepthwiseConv2d", "Concat", "Table", "Dequantize", "Detections"} <= kinds(program)
    assert [program.tensors[name].shape for name in program.function().outputs] == [
        (1, 20, 4),
        (1, 20),
        (1, 20),
        (1,),
    ]
    engines, rng = (Reference(program), native(program)), np.random.default_rng(1)
    for _ in range(4):
        x = int8(rng, (1, 32, 32, 3))
        expected = oracle.run_all([x])
        assert expected[3][0] > 3
        for engine in engines:
            found = engine.run([x])
            assert found[3] == expected[3]
            rows = int(expected[3][0])
            for a, b in zip(found[:3], expected[:3], strict=True):
                np.testing.assert_allclose(a[:, :rows], b[:, :rows], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("build", [mobilenet_v3_block, segmentation_head])
def test_int8_networks_give_the_bytes_of_litert(build: Any) -> None:
    content = build()
    program, oracle = program_from(content), LiteRT(content)
    assert not kinds(program) & {"FloatKernel", "Quantize", "Dequantize"}
    engines, rng = (Reference(program), native(program)), np.random.default_rng(2)
    shape = program.tensors["x"].shape
    for _ in range(4):
        x = int8(rng, shape)
        expected = oracle.run_all([x])
        assert all(len(np.unique(y)) > 4 for y in expected)
        for engine in engines:
            for a, b in zip(engine.run([x]), expected, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("quantised", [True, False], ids=["int8", "float32"])
def test_state_lives_between_calls_and_is_reset(quantised: bool) -> None:
    content = streaming_network(quantised)
    program, oracle = program_from(content), LiteRT(content)
    (variable,) = program.variables
    assert (variable.tensor, variable.trainable) == ("frames", False)
    reference, compiled, rng = Reference(program), native(program), np.random.default_rng(3)
    frames = [int8(rng, (1, 1, 4)) for _ in range(12)]
    if not quantised:
        frames = [frame.astype(np.float32) / 50 for frame in frames]
    heard = []
    for frame in frames:
        expected = oracle.run_all([frame])[0]
        heard.append(expected)
        for engine in (reference, compiled):
            found = engine.run([frame])[0]
            if quantised:
                np.testing.assert_array_equal(found, expected)
            else:
                np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert len({y.tobytes() for y in heard}) == len(heard)
    reference.reset()
    np.testing.assert_allclose(reference.run([frames[0]])[0], heard[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("time_major", [False, True])
def test_a_sequence_lstm_keeps_its_states_as_litert_does(time_major: bool) -> None:
    content = sequence_lstm(time_major=time_major)
    program, oracle = program_from(content), LiteRT(content)
    assert [variable.tensor for variable in program.variables] == ["hidden", "cell"]
    engines, rng = (Reference(program), native(program)), np.random.default_rng(4)
    heard = []
    for _ in range(3):
        x = rng.normal(size=program.tensors["x"].shape).astype(np.float32)
        expected = oracle.run_all([x])[0]
        for engine in engines:
            np.testing.assert_allclose(engine.run([x])[0], expected, rtol=1e-5, atol=1e-5)
        heard.append((x, expected))
    engines[0].reset()
    np.testing.assert_allclose(engines[0].run([heard[0][0]])[0], heard[0][1], rtol=1e-5, atol=1e-5)
    assert np.abs(engines[0].run([heard[0][0]])[0] - heard[0][1]).max() > 1e-3


def test_a_session_resets_the_state_of_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "stream.tflite").write_bytes(streaming_network())
    compile(tmp_path / "stream.tflite", "host", output=tmp_path / "stream.lep")
    with contextlib.closing(Session(tmp_path / "stream.lep")) as session:
        assert session.self_test().values == 4 * 6
        frames = [int8(np.random.default_rng(i), (1, 1, 4)) for i in range(3)]
        first, *_ = [session.run(frame)["y"].copy() for frame in frames]
        assert not np.array_equal(session.run(frames[0])["y"], first)
        session.reset()
        np.testing.assert_array_equal(session.run(frames[0])["y"], first)


def test_an_int8_sequence_lstm_is_computed_in_float_within_a_step() -> None:
    content = int8_sequence_lstm()
    reference, oracle, rng = Reference(program_from(content)), LiteRT(content), np.random.default_rng(5)
    for _ in range(4):
        x = int8(rng, (1, 6, 8))
        expected, found = oracle.run_all([x])[0], reference.run([x])[0]
        steps = np.abs(found.astype(np.int64) - expected)
        assert len(np.unique(expected)) > 20
        assert steps.max() <= 2
        assert (steps > 0).mean() < 0.15
