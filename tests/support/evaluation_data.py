"""Where the evaluation models and their data lie; tests that need an absent file are skipped, saying so."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Array = npt.NDArray[Any]

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "tests" / "data"

INT8_NETWORKS = {
    "kws": "kws_ref_model",
    "resnet8": "pretrainedResnet_quant",
    "vww": "vww_96_int8",
    "ad": "ad01_int8",
    "wake_word": "str_ww_ref_model",
}
FLOAT_NETWORKS = {"resnet8": "pretrainedResnet", "vww": "vww_96_float", "ad": "ad01_fp32"}
KWS_FLOAT = "kws_ref_model_float32"

KWS_SCALE, KWS_ZERO_POINT = 0.5847029089927673, 83
"""What the int8 KWS samples mean: float = (q − 83) · 0.5847…"""


def data_root() -> Path:
    """The folder of evaluation data: LEPTON_DATA, else ../shared/data beside the project."""
    return Path(os.environ.get("LEPTON_DATA") or ROOT.parent / "shared" / "data")


def evaluation_file(*parts: str) -> Path:
    """A file of the evaluation data; skips the test where it is absent."""
    path = data_root().joinpath(*parts)
    if not path.is_file():
        pytest.skip(f"evaluation data is absent: {'/'.join(parts)} under {data_root().name}/ (LEPTON_DATA)")
    return path


def mlperf_tiny(name: str) -> Path:
    """A network of MLPerf Tiny; the int8 KWS model is committed with the tests."""
    committed = COMMITTED / f"{name}.tflite"
    return committed if committed.is_file() else evaluation_file("mlperf_tiny", f"{name}.tflite")


def committed_kws() -> tuple[Path, Array, Array]:
    """The committed int8 KWS model, 64 samples int8 [64, 49, 10, 1], labels [64]."""
    with np.load(COMMITTED / "kws_samples.npz") as samples:
        return COMMITTED / "kws_ref_model.tflite", samples["features"], samples["labels"]


def kws_samples() -> tuple[Array, Array]:
    """1,000 labelled KWS inputs: int8 [1000, 49, 10, 1], labels [1000]."""
    with np.load(evaluation_file("kws01", "kws01.npz")) as samples:
        return samples["features"], samples["labels"]


def kws_float(features: Array) -> Array:
    """The float32 inputs that int8 KWS samples stand for."""
    real = (features.astype(np.float32) - np.float32(KWS_ZERO_POINT)) * np.float32(KWS_SCALE)
    return real.astype(np.float32)
