"""Examples come from files without guessing what integers mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lepton_sdk.bundle import Quantization, TensorSpec
from lepton_sdk.samples import examples_for, labels_of, read_arrays
from lepton_targets.errors import BadInputError

FLOAT = (TensorSpec("x", (1, 4), "float32"),)
INT8 = (TensorSpec("x", (1, 4), "int8", Quantization((0.5,), 3)),)
INTEGERS = np.arange(8, dtype=np.int8).reshape(2, 4)
REAL = (INTEGERS.astype(np.float32) - 3) * np.float32(0.5)
SCALED = {"features_scale": np.float64(0.5), "features_zero_point": np.array(3)}


def test_same_type_passes_untouched() -> None:
    np.testing.assert_array_equal(examples_for(INT8, {"features": INTEGERS})["x"], INTEGERS)
    np.testing.assert_array_equal(examples_for(FLOAT, {"x": REAL})["x"], REAL)


def test_integers_become_real_numbers_by_their_scale() -> None:
    np.testing.assert_array_equal(examples_for(FLOAT, {"features": INTEGERS, **SCALED})["x"], REAL)


def test_real_numbers_become_integers_by_the_models_scale() -> None:
    np.testing.assert_array_equal(examples_for(INT8, {"features": REAL.astype(np.float64)})["x"], INTEGERS)
    clipped = examples_for(INT8, {"features": np.full((1, 4), 1e9)})["x"]
    assert (clipped == 127).all()


def test_integers_of_another_scale_are_requantised() -> None:
    arrays = {"features": (INTEGERS - 3).astype(np.int16), "features_scale": np.array([0.5])}
    arrays["features_zero_point"] = np.array([0])
    np.testing.assert_array_equal(examples_for(INT8, arrays)["x"], INTEGERS)


def test_features_may_be_the_name_of_an_input_among_others() -> None:
    inputs = (TensorSpec("features", (1, 4), "float32"), *FLOAT)
    examples = examples_for(inputs, {"features": REAL, "x": REAL + 1})
    np.testing.assert_array_equal(examples["features"], REAL)
    np.testing.assert_array_equal(examples["x"], REAL + 1)


def test_flat_examples_are_folded() -> None:
    spec = (TensorSpec("x", (1, 2, 2), "int8"),)
    assert examples_for(spec, {"x": INTEGERS})["x"].shape == (2, 2, 2)


@pytest.mark.parametrize(
    ("inputs", "arrays", "message"),
    [
        (FLOAT, {"features": INTEGERS}, "say what the integers mean with 'features_scale'"),
        (FLOAT, {"x": INTEGERS, **SCALED}, "'x_scale'"),
        (INT8, {"features": INTEGERS.astype(np.uint8)}, "takes other numbers"),
        (
            FLOAT,
            {"features": np.array([[0, np.nan, 1, np.inf]])},
            "2 values that are NaN or infinite, the first in example 0",
        ),
        (FLOAT, {"x": np.where(np.arange(8).reshape(2, 4) == 6, np.inf, REAL)}, "the first in example 1"),
        (INT8, {"features": np.array([[0, np.nan, 1, 2]])}, "NaN"),
        (FLOAT, {"features": REAL[:, :3]}, r"needs \[n,4\]"),
        (FLOAT, {"features": REAL[0]}, r"needs \[n,4\]"),
        (FLOAT, {"features": REAL[:0]}, "no examples"),
        (FLOAT, {"labels": INTEGERS}, "no array for the input x"),
        (FLOAT, {"x0": REAL}, "did you mean x0"),
        (FLOAT, {"features": np.array([["a"] * 4])}, "dtype"),
        (FLOAT, {"x": INTEGERS, "x_scale": np.array(1.0)}, "'x_scale' stands without 'x_zero_point'"),
        (FLOAT, {"features": INTEGERS} | SCALED | {"features_scale": np.ones(2)}, "one number each"),
        (FLOAT, {"features": INTEGERS} | SCALED | {"features_scale": np.array(0.0)}, "above 0"),
        (FLOAT, {"features": INTEGERS} | SCALED | {"features_scale": np.array("x")}, "must hold numbers"),
        ((*FLOAT, TensorSpec("z", (1, 4), "float32")), {"features": REAL}, "no array for the input x"),
        ((TensorSpec("x", (1, 4), "int8"),), {"features": REAL}, "integers without a scale"),
        (
            (*FLOAT, TensorSpec("z", (1, 4), "float32")),
            {"x": REAL, "z": REAL[:1]},
            "different numbers of examples: 2 of 'x', 1 of 'z'",
        ),
    ],
)
def test_bad_data(inputs: tuple[TensorSpec, ...], arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        examples_for(inputs, arrays)


def test_labels() -> None:
    np.testing.assert_array_equal(labels_of({"labels": np.array([[1.0], [0.0]])}, 2), [1, 0])
    assert labels_of({}, 2) is None
    np.testing.assert_array_equal(labels_of({"labels": np.array([1, 0])}, 2, 2), [1, 0])
    with pytest.raises(BadInputError, match="the class 2 in example 1; the model has the classes 0 to 1"):
        labels_of({"labels": np.array([1, 2])}, 2, 2)
    for wrong in ([1], [0.5, 1], [-1, 0], ["a", "b"], [np.nan, 0]):
        with pytest.raises(BadInputError, match="labels"):
            labels_of({"labels": np.array(wrong)}, 2)


def test_one_hot_labels_are_told_what_they_should_be() -> None:
    with pytest.raises(BadInputError, match=r"labels\.argmax\(axis=1\)"):
        labels_of({"labels": np.eye(3)}, 3)
    with pytest.raises(BadInputError, match="a class number for each example") as found:
        labels_of({"labels": np.arange(4)}, 3)
    assert "argmax" not in str(found.value)


def test_files_that_are_no_archives(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", INTEGERS)
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.savez(tmp_path / "pickled.npz", features=np.array([object()], dtype=object))
    np.savez(tmp_path / "whole.npz", features=INTEGERS)
    (tmp_path / "short.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:-30])
    with pytest.raises(BadInputError, match="single array") as caught:
        read_arrays(tmp_path / "one.npy")
    assert "numpy.savez" in str(caught.value)
    for name in ("one.npy", "text.npz", "empty.npz", "pickled.npz", "short.npz", "absent.npz"):
        with pytest.raises(BadInputError, match=name.split(".")[0]):
            read_arrays(tmp_path / name)
    # numpy's own words for both advise to load pickles, which run code.
    for name in ("text.npz", "pickled.npz"):
        with pytest.raises(BadInputError, match="pickled objects") as caught:
            read_arrays(tmp_path / name)
        assert "unsafe" not in str(caught.value)
        assert "allow_pickle" not in str(caught.value)
    np.testing.assert_array_equal(read_arrays(tmp_path / "whole.npz")["features"], INTEGERS)
