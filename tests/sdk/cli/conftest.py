"""The command, and something to give it."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from support import bundles
from support.in_process import Lepton, run_here


@pytest.fixture
def lepton(capfd: pytest.CaptureFixture[str]) -> Lepton:
    return functools.partial(run_here, capfd)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundles.write(tmp_path_factory.mktemp("bundle") / "tiny.lep")


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    features = np.random.default_rng(0).integers(-128, 128, (30, 10)).astype(np.int8)
    labels = bundles.TABLE[features.astype(int) + 128].argmax(axis=1)
    labels[:3] = (labels[:3] + 1) % 10
    np.savez(tmp_path / "examples.npz", features=features, labels=labels)
    return tmp_path / "examples.npz"
