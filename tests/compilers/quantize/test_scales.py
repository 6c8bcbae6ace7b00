"""Scales and zero points: what they must hold for any range and any weights."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lepton_compilers.quantize.observers import MinMax
from lepton_compilers.quantize.scales import activation_quantization, quantised_weight, weight_scales
from lepton_sdk.program import arithmetic

finite = st.floats(-1e6, 1e6, width=32)


@given(arrays.arrays(np.float32, st.integers(1, 30), elements=finite))
def test_observed_values_survive_to_half_a_step(values: np.ndarray) -> None:
    observer = MinMax()
    observer.observe(values)
    q = activation_quantization(*observer.range())
    back = arithmetic.dequantize(arithmetic.quantize(values, q.scale, q.zero_point), q.scale, q.zero_point)
    # Half a step of rounding, and up to half a step because zero must be an integer.
    assert np.abs(back - values).max() <= 1.01 * q.scale
    assert -128 <= q.zero_point <= 127


@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=finite))
def test_weights_lie_in_the_narrow_range_to_half_a_step(weight: np.ndarray) -> None:
    scales = weight_scales(weight, None, 1.0, per_channel=True)
    numbers = quantised_weight(weight, scales)
    assert numbers.min() >= -127
    assert (scales > 0).all()
    assert (np.abs(numbers * scales[:, None].astype(np.float64) - weight) <= 0.501 * scales[:, None]).all()


def test_a_dead_channel_gets_a_scale_at_which_its_bias_fits() -> None:
    weight = np.array([[0.0, 0.0], [0.5, -1.0]], np.float32)
    bias = np.array([3.0, 3.0])
    scales = weight_scales(weight, bias, 0.01, per_channel=True)
    steps = bias / (0.01 * scales.astype(np.float64))
    assert (np.abs(steps) <= 2.0**30 * 1.001).all()
    assert scales[1] == np.float32(1.0 / 127)
    assert weight_scales(weight, np.zeros(2), 0.01, per_channel=True)[0] > 0
