"""What is compared: networks at a precision, and the file that each rival gets of the same network.

A rival gets the TFLite file where there is one, else ONNX; int8 in ONNX is made by ONNX Runtime's own tool,
a scale a channel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import networks, torch_networks
from support.evaluation_data import data_root

TINY: Mapping[str, Mapping[str, str]] = {
    "ResNet-8": {"int8": "pretrainedResnet_quant", "float32": "pretrainedResnet"},
    "VWW": {"int8": "vww_96_int8", "float32": "vww_96_float"},
    "KWS": {"int8": "kws_ref_model", "float32": "kws_ref_model_float32"},
    "AD": {"int8": "ad01_int8", "float32": "ad01_fp32"},
    "wake word": {"int8": "str_ww_ref_model"},
}
"""MLPerf Tiny: files of the evaluation data, by precision."""

QUANTISED = ("ResNet-50", "MobileNetV2")
"""Large networks that are measured at int8 too, and with products of bfloat16 beside our own float32."""

OTHERS_QUANTISED = ("MobileNetV3", "YOLO", "U-Net", "Transformer")
"""Of the networks that PyTorch writes, those that are measured at int8 too."""

NETWORKS = (*TINY, *networks.LARGE_NETWORKS, *torch_networks.NETWORKS)
PRECISIONS = ("int8", "float32", "bf16")
MEAN_OF = ("ResNet-8", "VWW", "KWS", "AD")
"""The networks whose ratios a geometric mean sums up."""


@dataclass(frozen=True)
class Contest:
    """One network at one precision.

    rivals: NAME:FILE. calibration: inputs [n, …] that we quantise with. options: what `compile` takes
    besides. beside: another precision of the network; that bundle of ours takes turns instead of rivals.
    """

    network: str
    precision: str
    model: Path
    rivals: tuple[str, ...]
    calibration: np.ndarray | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    beside: str | None = None


def contests(folder: Path, wanted: Sequence[str]) -> list[Contest]:
    """Every contest of the networks named in `wanted`, int8 first; files are made in `folder`."""
    found = [*_tiny(wanted), *_large(folder, wanted), *_others(folder, wanted)]
    return sorted(found, key=lambda contest: PRECISIONS.index(contest.precision))


def missing(wanted: Sequence[str]) -> list[str]:
    """Files of the evaluation data that the networks named need and that are not there."""
    files = (f"{stem}.tflite" for name in wanted for stem in TINY.get(name, {}).values())
    return [file for file in files if not (data_root() / "mlperf_tiny" / file).is_file()]


def _tiny(wanted: Sequence[str]) -> Iterator[Contest]:
    for name, stems in TINY.items():
        for precision, stem in stems.items():
            path = data_root() / "mlperf_tiny" / f"{stem}.tflite"
            if name in wanted and path.is_file():
                yield Contest(name, precision, path, (f"litert:{path}", f"openvino:{path}"))


def _large(folder: Path, wanted: Sequence[str]) -> Iterator[Contest]:
    names = [name for name in networks.LARGE_NETWORKS if name in wanted]
    for name, path in networks.write_networks(folder, names).items():
        yield Contest(name, "float32", path, (f"onnxruntime:{path}", f"openvino:{path}"))
        if name not in QUANTISED:
            continue
        yield _int8(name, path, (2, 3, networks.SIDE, networks.SIDE))
        yield Contest(name, "bf16", path, (), options={"precision": "bf16"}, beside="float32")


def _others(folder: Path, wanted: Sequence[str]) -> Iterator[Contest]:
    names = [name for name in torch_networks.NETWORKS if name in wanted]
    for name, path in torch_networks.write_networks(folder, names).items():
        yield Contest(name, "float32", path, (f"onnxruntime:{path}", f"openvino:{path}"))
        if name in OTHERS_QUANTISED:
            yield _int8(name, path, (8, *torch_networks.NETWORKS[name][1][1:]))


def _int8(name: str, path: Path, shape: tuple[int, ...]) -> Contest:
    """The network quantised by us and by ONNX Runtime, on the same random inputs of `shape`."""
    samples = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    try:
        theirs = networks.quantised(path, samples)
    except ImportError:
        return Contest(name, "int8", path, (), samples)
    return Contest(name, "int8", path, (f"onnxruntime:{theirs}", f"openvino:{theirs}"), samples)
