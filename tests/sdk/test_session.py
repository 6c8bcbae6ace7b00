"""Sessions: arrays in, arrays out, with errors that say what was expected and what was found."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from lepton_sdk import Bundle, Session
from lepton_sdk.bundle import EntryPoint, TensorSpec, generate_key
from lepton_sdk.engines.memory import aligned_bytes
from lepton_targets.errors import (
    BadInputError,
    CheckFailedError,
    SelfTestError,
    SignatureError,
    UnavailableError,
    UsageError,
)
from support import bundles

X = np.arange(10, dtype=np.int8).reshape(bundles.SHAPE)
Y = bundles.TABLE[X.astype(int) + 128]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundles.write(tmp_path_factory.mktemp("bundle") / "tiny.lep")


@pytest.fixture(params=["native", "reference"])
def session(request: pytest.FixtureRequest, path: Path) -> Session:
    return Session(path, engine=request.param)


def gradient_step() -> dict[str, np.ndarray]:
    return {
        "gradient": np.ones((2, 3), np.float32),
        "learning_rate": np.array(0.25, np.float32),
        "momentum": np.array(0.5, np.float32),
    }


def test_takes_a_bare_array_or_a_dict(session: Session) -> None:
    np.testing.assert_array_equal(session.run(X)["y"], Y)
    np.testing.assert_array_equal(session.run({"x": X})["y"], Y)


def test_outputs_are_fresh_each_time(session: Session) -> None:
    first = session.run(X)["y"]
    second = session.run(X - 1)["y"]
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, Y)


def test_a_view_that_is_not_dense_is_run_too(session: Session) -> None:
    np.testing.assert_array_equal(session.run(np.repeat(X, 2, axis=1)[:, ::2])["y"], Y)


def test_tells_names_shapes_types_and_quantisation(session: Session) -> None:
    assert [tensor.name for tensor in session.inputs] == ["x"]
    assert session.shapes == {"x": (1, 10), "y": (1, 10)}
    assert session.dtypes == {"x": np.dtype("int8"), "y": np.dtype("int8")}
    quantization = session.quantization["x"]
    assert quantization is not None
    assert (quantization.scales, quantization.zero_point) == ((0.5,), -3)
    assert session.functions == ("infer", "train")
    assert session.labels == ("no", "yes")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (X.astype(np.int16), r"'x' is int16\[1,10\]\n  expected int8\[1,10\]"),
        (X[:, :9], r"'x' is int8\[1,9\]\n  expected int8\[1,10\]"),
        (X[0], r"int8\[10\]"),
        ([[0.5] * 10], r"'x' is float64\[1,10\]"),
        ({"X": X}, r"no input 'X'"),
        ({}, r"input 'x' of function 'infer' is missing\n  expected: x: int8\[1,10\]"),
        ({"x": X, "z": X}, r"no input 'z'"),
        ({"x": X.astype(">i2")}, r"'x' is >i2"),
        ({"x": None}, r"'x' is object"),
    ],
)
def test_wrong_inputs(session: Session, inputs: Any, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        session.run(inputs)
    np.testing.assert_array_equal(session.run(X)["y"], Y)


def test_one_bare_array_for_several_inputs(session: Session) -> None:
    with pytest.raises(BadInputError, match="has 3 inputs; one bare array was given"):
        session.run(X, "train")


def test_unknown_function(session: Session) -> None:
    with pytest.raises(UsageError, match="no function 'trian'; did you mean train"):
        session.run(X, "trian")


def test_nan_is_a_value_like_others(session: Session) -> None:
    inputs = gradient_step()
    inputs["gradient"] = np.full((2, 3), np.nan, np.float32)
    session.run(inputs, "train")
    assert np.isnan(session.variables()["w"]).all()


class TestRunInto:
    def test_fills_the_given_arrays(self, session: Session) -> None:
        y = np.zeros_like(Y)
        for inputs, outputs in ((X, y), ({"x": X}, {"y": y}), (X, {"y": y})):
            y[:] = 0
            session.run_into(inputs, outputs)
            np.testing.assert_array_equal(y, Y)

    def test_sees_new_contents_of_the_same_arrays(self, session: Session) -> None:
        x, y = X.copy(), np.zeros_like(Y)
        for shift in range(3):
            x[:] = X + shift
            session.run_into(x, y)
            np.testing.assert_array_equal(y, bundles.TABLE[x.astype(int) + 128])

    def test_sees_other_arrays_in_the_same_dict(self, session: Session) -> None:
        first, second = np.zeros_like(Y), np.zeros_like(Y)
        outputs = {"y": first}
        session.run_into({"x": X}, outputs)
        outputs["y"] = second
        session.run_into({"x": X}, outputs)
        np.testing.assert_array_equal(second, Y)

    def test_bound_call_keeps_its_arrays_and_the_code_alive(self, path: Path) -> None:
        call = Session(path).bind(X.copy(), y := np.zeros_like(Y))
        gc.collect()
        call()
        np.testing.assert_array_equal(y, Y)

    @pytest.mark.parametrize(
        ("outputs", "message"),
        [
            (np.zeros((1, 20), np.int8)[:, ::2], "not dense"),
            (np.broadcast_to(np.int8(0), (1, 10)), "not dense|can't be written"),
            ([[0] * 10], "int64|can't be written"),
            (np.zeros((1, 9), np.int8), r"expected int8\[1,10\]"),
            ({"Y": np.zeros((1, 10), np.int8)}, "no output 'Y'"),
        ],
    )
    def test_wrong_outputs(self, session: Session, outputs: Any, message: str) -> None:
        with pytest.raises(BadInputError, match=message):
            session.run_into(X, outputs)

    def test_read_only_output(self, session: Session) -> None:
        y = np.zeros_like(Y)
        y.setflags(write=False)
        with pytest.raises(BadInputError, match="can't be written"):
            session.run_into(X, y)

    def test_output_over_input(self, session: Session) -> None:
        memory = np.zeros((1, 20), np.int8)
        with pytest.raises(BadInputError, match="shares memory with 'x'"):
            session.run_into(memory[:, :10], memory[:, 5:15])


@settings(max_examples=50, deadline=None)
@given(x=npst.arrays(np.int8, bundles.SHAPE))
def test_engines_agree_on_every_input(path: Path, x: np.ndarray) -> None:
    expected = bundles.TABLE[x.astype(int) + 128]
    for engine in ("native", "reference"):
        np.testing.assert_array_equal(_open(path, engine).run(x)["y"], expected)


def _open(path: Path, engine: str, cache: dict[tuple[Path, str], Session] = {}) -> Session:  # noqa: B006
    return cache.setdefault((path, engine), Session(path, engine=engine))


class TestVariables:
    def test_live_between_calls_until_reset(self, session: Session) -> None:
        view = session.variables()["w"]
        session.run(gradient_step(), "train")
        np.testing.assert_array_equal(view, bundles.WEIGHT - np.float32(0.25))
        session.run(gradient_step(), "train")
        np.testing.assert_array_equal(view, bundles.WEIGHT - np.float32(0.25 + 0.375))
        session.reset()
        np.testing.assert_array_equal(view, bundles.WEIGHT)

    def test_can_be_written(self, session: Session) -> None:
        session.variables()["w"][...] = 7
        session.run(gradient_step(), "train")
        np.testing.assert_array_equal(session.variables()["w"], np.full((2, 3), 6.75, np.float32))

    def test_are_each_sessions_own(self, path: Path) -> None:
        bundle = Bundle.open(path)
        one, other = Session(bundle), Session(bundle)
        one.run(gradient_step(), "train")
        np.testing.assert_array_equal(other.variables()["w"], bundles.WEIGHT)

    def test_survive_a_self_test(self, session: Session) -> None:
        session.run(gradient_step(), "train")
        before = session.variables()["w"].copy()
        session.self_test()
        np.testing.assert_array_equal(session.variables()["w"], before)


class TestSelfTest:
    def test_counts_what_it_compared(self, session: Session) -> None:
        result = session.self_test()
        assert (result.vectors, result.values, result.largest_difference) == (1, 10, 0.0)

    def test_names_the_output_and_the_first_difference(self, tmp_path: Path) -> None:
        golden = bytearray(bundles.segments()["golden"])
        golden[64 + 4] ^= 1
        golden[64 + 6] ^= 1
        path = bundles.write(tmp_path / "wrong.lep", segment_changes={"golden": bytes(golden)})
        with pytest.raises(SelfTestError, match="output 'y' differs in 2 of 10 values") as caught:
            Session(path).self_test()
        assert "first at [0, 4]" in str(caught.value)

    def test_tolerance_allows_what_it_says(self, tmp_path: Path) -> None:
        golden = bytearray(bundles.segments()["golden"])
        golden[64] ^= 1
        functions = dict(bundles.manifest().functions)
        for tolerance, passes in ((1.0, True), (0.5, False)):
            y = TensorSpec("y", bundles.SHAPE, "int8", None, tolerance)
            functions["infer"] = functions["infer"].replace(outputs=(y,))
            path = bundles.write(
                tmp_path / f"{tolerance}.lep",
                manifest_changes={"functions": functions},
                segment_changes={"golden": bytes(golden)},
            )
            if passes:
                assert Session(path).self_test().largest_difference == 1.0
            else:
                with pytest.raises(SelfTestError, match=r"at most 0\.5"):
                    Session(path).self_test()

    def test_nothing_to_test_is_no_success(self, tmp_path: Path) -> None:
        path = bundles.write(tmp_path / "none.lep", manifest_changes={"golden": ()})
        with pytest.raises(UnavailableError, match="no golden vectors"):
            Session(path).self_test()


class TestTrust:
    def test_required_before_any_code_is_loaded(
        self, tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        public, _ = generate_key(tmp_path / "key.pem")
        monkeypatch.setattr("lepton_sdk.engines.library.load", lambda *_: pytest.fail("code was loaded"))
        with pytest.raises(SignatureError):
            Session(path, trust=[public])

    def test_given_and_right(self, tmp_path: Path) -> None:
        public, key_id = generate_key(tmp_path / "key.pem")
        session = Session(bundles.write(tmp_path / "a.lep", key=tmp_path / "key.pem"), trust=[public])
        assert session.key_id == key_id

    def test_a_plain_file_has_none(self, tmp_path: Path) -> None:
        with pytest.raises(SignatureError, match="carry no signature"):
            Session(tmp_path / "a.tflite", engine="litert", trust=[])


def test_wrong_target_says_what_is_there_and_what_this_is(tmp_path: Path) -> None:
    path = bundles.write(tmp_path / "other.lep", targets=("riscv64", "cuda"))
    with pytest.raises(UnavailableError, match="no code for this CPU") as caught:
        Session(path)
    assert "it has: riscv64, cuda" in str(caught.value)
    assert "this CPU is" in str(caught.value)
    np.testing.assert_array_equal(Session(path, engine="reference").run(X)["y"], Y)


def test_function_that_fails_is_reported(tmp_path: Path) -> None:
    manifest = bundles.manifest()
    failing = {**manifest.artifacts[0].functions, "infer": EntryPoint("lepton_fails", 0)}
    artifacts = (manifest.artifacts[0].replace(functions=failing),)
    path = bundles.write(tmp_path / "fails.lep", manifest_changes={"artifacts": artifacts})
    with pytest.raises(CheckFailedError, match=r"'infer' of .* failed with 3"):
        Session(path).run(X)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"engine": "nativ"}, UsageError, "did you mean native"),
        ({"threads": 0}, UsageError, "at least 1"),
    ],
)
def test_wrong_options(path: Path, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Session(path, **options)


def test_large_arrays_are_bound_where_they_lie(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lepton_sdk.calls._STAGED_LIMIT_BYTES", 0)
    np.testing.assert_array_equal(session.run(X)["y"], Y)
    np.testing.assert_array_equal(session.run({"x": np.repeat(X, 2, axis=1)[:, ::2]})["y"], Y)
    with pytest.raises(BadInputError):
        session.run(X[0])


def test_session_is_freed_when_dropped(path: Path) -> None:
    session = Session(path)
    session.run(X)
    session.run_into(X, np.zeros_like(Y))
    library = weakref.ref(session.engine._library)  # type: ignore[attr-defined]
    del session
    gc.collect()
    assert library() is None


def test_example_inputs_are_those_of_the_golden_vectors(session: Session) -> None:
    assert session.bundle is not None
    first = next(vector for vector in session.bundle.golden() if vector.function == "infer")
    np.testing.assert_array_equal(session.example_inputs()["x"], first.inputs["x"])
    with pytest.raises(UsageError, match="no function 'inference'"):
        session.example_inputs("inference")


def test_a_call_may_be_bound_without_arrays_for_its_outputs(session: Session) -> None:
    before = {name: variable.copy() for name, variable in session.variables().items()}
    session.bind(gradient_step(), function="train")()
    assert any((session.variables()[name] != held).any() for name, held in before.items())


def test_benchmark_reports_ordered_latencies(session: Session) -> None:
    latency = session.benchmark(seconds=0.02)
    assert 0 < latency.min <= latency.median <= latency.p99


@given(st.integers(0, 1000))
def test_arena_begins_at_a_multiple_of_64(nbytes: int) -> None:
    arena = aligned_bytes(nbytes)
    assert arena.nbytes == nbytes
    assert arena.ctypes.data % 64 == 0 or nbytes == 0


def test_trust_may_be_one_path(tmp_path: Path) -> None:
    public, identity = generate_key(tmp_path / "key.pem")
    signed = bundles.write(tmp_path / "signed.lep", key=tmp_path / "key.pem")
    for trust in (public, str(public), [public]):
        assert Session(signed, trust=trust).key_id == identity
        assert Bundle.open(signed).verify_signature(trust) == identity


def test_shows_what_it_runs(session: Session, path: Path) -> None:
    assert repr(session) == (
        f"Session({str(path)!r}, engine={session.engine.name!r}, target={session.target!r})"
    )
    session.close()
    assert repr(session) == f"Session({str(path)!r}, closed)"


def test_a_closed_session_keeps_nothing_and_refuses_calls(session: Session) -> None:
    y = np.empty_like(Y)
    with session as opened:
        assert opened is session
        opened.run_into(X, y)
    session.close()
    calls = (
        lambda: session.run(X),
        lambda: session.run_into(X, y),
        lambda: session.bind(X, y),
        session.reset,
        session.variables,
        session.self_test,
        lambda: session.inputs,
        lambda: session.target,
    )
    for call in calls:
        with pytest.raises(UsageError, match="is closed"):
            call()
    np.testing.assert_array_equal(y, Y)


def test_closing_gives_the_bundle_up(path: Path) -> None:
    session = Session(path)
    session.run(X)
    code = weakref.ref(session.engine)
    session.close()
    gc.collect()
    assert code() is None
    assert session.bundle is None
