"""Figures of merit, batches, comparisons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_sdk.bundle import FunctionInterface, TensorSpec
from lepton_sdk.evaluate import compare, run_examples, scores
from lepton_sdk.metrics import METRICS, TABLES, choose, predicted
from lepton_sdk.session import Session
from lepton_targets.errors import BadInputError, UsageError
from support import bundles

LABELLED = st.integers(1, 40).flatmap(
    lambda n: st.tuples(
        st.lists(st.lists(st.floats(-5, 5), min_size=4, max_size=4), min_size=n, max_size=n).map(np.array),
        st.lists(st.integers(0, 3), min_size=n, max_size=n).map(np.array),
    )
)


@settings(deadline=None)
@given(LABELLED)
def test_metrics_are_shares(case: tuple[np.ndarray, np.ndarray]) -> None:
    given_scores, labels = case
    for metric in METRICS.values():
        value = metric(given_scores, labels)
        assert value is None or 0 <= value <= 1
    assert METRICS["top5"](given_scores, labels) == 1


@settings(deadline=None)
@given(LABELLED)
def test_metrics_are_scikit_learns(case: tuple[np.ndarray, np.ndarray]) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    given_scores, labels = case
    found = predicted(given_scores)
    assert METRICS["accuracy"](given_scores, labels) == pytest.approx(sklearn.accuracy_score(labels, found))
    for name in ("precision", "recall", "f1"):
        expected = getattr(sklearn, f"{name}_score")(labels, found, average="macro", zero_division=0)
        assert METRICS[name](given_scores, labels) == pytest.approx(expected)


@settings(deadline=None)
@given(LABELLED, st.integers(1, 4))
def test_tables_are_scikit_learns(case: tuple[np.ndarray, np.ndarray], classes: int) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    given_scores, labels = case[0][:, :classes], case[1] % max(classes, 2)
    found, every = predicted(given_scores), range(max(classes, 2))
    matrix = sklearn.confusion_matrix(labels, found, labels=every)
    assert TABLES["confusion_matrix"](given_scores, labels) == matrix.tolist()
    expected = sklearn.precision_recall_fscore_support(labels, found, labels=every, zero_division=0)
    rows = TABLES["per_class"](given_scores, labels)
    for key, column in zip(("precision", "recall", "f1", "examples"), expected):
        np.testing.assert_allclose([row[key] for row in rows], column)


@settings(deadline=None)
@given(LABELLED, st.integers(1, 4))
def test_roc_is_scikit_learns(case: tuple[np.ndarray, np.ndarray], classes: int) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    # Whole numbers, so that ties occur and a difference of two scores is exact.
    given_scores, labels = np.rint(case[0][:, :classes]), case[1] % max(classes, 2)
    if classes <= 2:
        binary = given_scores[:, 0] if classes == 1 else given_scores[:, 1] - given_scores[:, 0]
        ranked = {1: binary}
    else:
        ranked = {number: given_scores[:, number] for number in range(classes)}
    told = {number: ranks for number, ranks in ranked.items() if 0 < (labels == number).sum() < len(labels)}
    curves = TABLES["roc_curve"](given_scores, labels)
    assert [curve["class"] for curve in curves] == list(told)
    areas = [sklearn.roc_auc_score(labels == number, ranks) for number, ranks in told.items()]
    for curve, area, (number, ranks) in zip(curves, areas, told.items()):
        assert curve["area"] == pytest.approx(area)
        false, true, thresholds = sklearn.roc_curve(labels == number, ranks, drop_intermediate=False)
        every = dict(zip(thresholds[1:].tolist(), zip(false[1:], true[1:])))
        corners = list(zip(curve["false_positive_rates"], curve["true_positive_rates"]))
        assert corners[0] == (0, 0)
        assert corners[-1] == (1, 1)
        assert curve["thresholds"][0] is None
        for threshold, corner in zip(curve["thresholds"][1:], corners[1:]):
            assert corner == pytest.approx(every[threshold])
        assert np.trapezoid(*np.array(corners).T[::-1]) == pytest.approx(area)
    assert METRICS["roc_auc"](given_scores, labels) == (pytest.approx(np.mean(areas)) if areas else None)


def test_a_label_beyond_the_models_classes_is_a_row_of_misses() -> None:
    assert TABLES["confusion_matrix"](np.eye(2), np.array([0, 2])) == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_one_score_is_a_yes_from_one_half_on() -> None:
    np.testing.assert_array_equal(predicted(np.array([[0.2], [0.7]])), [0, 1])


def test_unknown_metric_lists_near_names() -> None:
    with pytest.raises(UsageError, match="did you mean accuracy"):
        choose("acuracy,f1")
    with pytest.raises(UsageError, match="no metric was named"):
        choose(" , ")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return Session(bundles.write(tmp_path_factory.mktemp("bundle") / "tiny.lep"))


def test_examples_run_in_order_and_progress_is_told(session: Session) -> None:
    x = np.random.default_rng(0).integers(-128, 128, (7, 10)).astype(np.int8)
    told: list[int] = []
    outputs = run_examples(session, {"x": x}, told.append)
    np.testing.assert_array_equal(outputs["y"], bundles.TABLE[x.astype(int) + 128])
    assert told == list(range(1, 8))
    np.testing.assert_array_equal(scores(session, outputs), (outputs["y"] + 3.0) * 0.5)


def test_last_batch_is_filled_up_and_cut(tmp_path: Path) -> None:
    """The ten values of the tiny network as five examples of two."""
    x, y = (TensorSpec(name, (5, 2), "int8") for name in "xy")
    functions = {**bundles.manifest().functions, "infer": FunctionInterface((x,), (y,))}
    session = Session(bundles.write(tmp_path / "batched.lep", manifest_changes={"functions": functions}))
    examples = np.arange(14, dtype=np.int8).reshape(7, 2)
    outputs = run_examples(session, {"x": examples})
    np.testing.assert_array_equal(outputs["y"], bundles.TABLE[examples.astype(int) + 128])


def test_comparison_counts_bytes_steps_and_classes(session: Session) -> None:
    mine = np.array([[0, 5], [5, 0], [1, 2], [2, 1]], np.int8)
    theirs = np.array([[0, 5], [5, 3], [2, 1], [2, 1]], np.int8)
    found = compare(session, {"y": mine}, session, {"y": theirs})
    assert (found.agreement, found.bytes_equal_fraction, found.max_step_difference) == (0.75, 0.625, 3)
    assert found.max_difference == 1.5
    half = {"y": mine.astype(np.float16)}
    assert compare(session, half, session, half).bytes_equal_fraction == 1
    nan = {"y": np.where(mine == 5, np.nan, mine).astype(np.float32)}
    assert compare(session, nan, session, half).max_difference is None
    other = compare(session, {"y": mine}, session, {"y": theirs.astype(np.float32)})
    assert (other.bytes_equal_fraction, other.max_step_difference) == (None, None)
    with pytest.raises(BadInputError, match="outputs of one shape"):
        compare(session, {"y": mine}, session, {"y": theirs[:, :1]})
