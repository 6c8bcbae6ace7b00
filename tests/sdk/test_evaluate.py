"""Figures of merit, batches, comparisons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_sdk.bundle import FunctionInterface, TensorSpec
from lepton_sdk.evaluate import compare, run_examples, scores
from lepton_sdk.metrics import METRICS, choose, predicted
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
        assert 0 <= metric(given_scores, labels) <= 1
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


def test_one_score_is_a_yes_from_one_half_on() -> None:
    np.testing.assert_array_equal(predicted(np.array([[0.2], [0.7]])), [0, 1])


def test_unknown_metric_lists_near_names() -> None:
    with pytest.raises(UsageError, match="did you mean accuracy"):
        choose("acuracy,f1")


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
    other = compare(session, {"y": mine}, session, {"y": theirs.astype(np.float32)})
    assert (other.bytes_equal_fraction, other.max_step_difference) == (None, None)
    with pytest.raises(BadInputError, match="outputs of one shape"):
        compare(session, {"y": mine}, session, {"y": theirs[:, :1]})
