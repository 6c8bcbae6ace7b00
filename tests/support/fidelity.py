"""How near to its float self a network is: quantised by us, and as the int8 TFLite file of the same one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lepton_compilers.front import program_from
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_sdk.program.reference import Reference
from support.evaluation_data import (
    FLOAT_NETWORKS,
    INT8_NETWORKS,
    KWS_FLOAT,
    kws_float,
    kws_samples,
    mlperf_tiny,
)
from support.litert import LiteRT
from support.structured_inputs import structured_images, structured_vectors

Array = npt.NDArray[Any]

NETWORKS = FLOAT_NETWORKS | {"kws": KWS_FLOAT}
CALIBRATION = 128
"""Samples that ranges are measured on; the others are for measuring fidelity."""
OWN: dict[str, QuantizationConfig] = {
    "int8": QuantizationConfig(),
    "int8x16": QuantizationConfig(activations="int16"),
}


@dataclass(frozen=True)
class Fidelity:
    """Against the float network: SQNR of the output in dB; share of equal classes, None for no classes."""

    sqnr_db: float
    agreement: float | None


def samples(network: str, count: int) -> Array:
    """float32 [count, *input without its batch], in the range that the network was trained on."""
    if network == "kws":
        real = kws_float(kws_samples()[0][:count])
    elif network == "resnet8":
        real = 255 * structured_images(count, (32, 32, 3))
    elif network == "vww":
        real = structured_images(count, (96, 96, 3))
    else:
        real = 100 * structured_vectors(count, (640,)) - 85
    return np.asarray(real, np.float32)


def outputs(run: Callable[[Array], Array], x: Array) -> Array:
    """The output of every sample, float64 [n, values]."""
    return np.array([run(sample[None]).reshape(-1) for sample in x], np.float64)


def fidelity(exact: Array, found: Array, network: str) -> Fidelity:
    """Of outputs [n, values]."""
    sqnr_db = 10 * np.log10((exact**2).sum() / max(((exact - found) ** 2).sum(), 1e-30))
    same = None if network == "ad" else float((exact.argmax(1) == found.argmax(1)).mean())
    return Fidelity(float(sqnr_db), same)


def own(network: str, config: QuantizationConfig, x: Array) -> Callable[[Array], Array]:
    """The network quantised from its float file on the samples `x`, run by the reference executor."""
    model = mlperf_tiny(NETWORKS[network])
    name = program_from(model).function().inputs[0]
    reference = Reference(program_from(model, quantization=config, calibration={name: x}))
    return lambda sample: reference.run([sample])[0]


def tflite_int8(network: str) -> Callable[[Array], Array]:
    """The int8 TFLite file on LiteRT, on float samples and to float outputs by the file's own scales."""
    litert = LiteRT(mlperf_tiny(INT8_NETWORKS[network]).read_bytes())
    (x_scale, x_zero), (y_scale, y_zero) = litert.quantization

    def run(sample: Array) -> Array:
        q = np.clip(np.rint(sample / np.float32(x_scale)) + x_zero, -128, 127).astype(np.int8)
        return (litert.run(q.reshape(litert.input_shape)).astype(np.float64) - y_zero) * y_scale

    return run


def measured(network: str, count: int, forms: Mapping[str, QuantizationConfig] = OWN) -> dict[str, Fidelity]:
    """The TFLite file and each of our own forms on `count` samples that none was calibrated on."""
    x = samples(network, CALIBRATION + count)
    calibration, rest = x[:CALIBRATION], x[CALIBRATION:]
    exact_network = Reference(program_from(mlperf_tiny(NETWORKS[network])))
    exact = outputs(lambda sample: exact_network.run([sample])[0], rest)
    rows = {"TFLite int8": fidelity(exact, outputs(tflite_int8(network), rest), network)}
    for name, config in forms.items():
        found = outputs(own(network, config, calibration), rest)
        rows[name] = fidelity(exact, found, network)
    return rows
