"""The arithmetic against definitions written independently of it, in exact rationals and plain integers."""

from fractions import Fraction

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from lepton_sdk.program import arithmetic

SCALES = st.floats(2.0**-20, 2.0**4, width=32, exclude_min=True)
INT8 = st.integers(-128, 127)
INT32 = st.integers(-(2**31) + 1, 2**31 - 1)


def to_float32(value: Fraction) -> Fraction:
    """Round a rational to 24 significant bits, half to even: float32 without its limits of exponent."""
    if value == 0:
        return value
    exponent = 0
    magnitude = abs(value)
    while magnitude >= 2**24:
        magnitude, exponent = magnitude / 2, exponent + 1
    while magnitude < 2**23:
        magnitude, exponent = magnitude * 2, exponent - 1
    return (1 if value > 0 else -1) * Fraction(round(magnitude)) * Fraction(2) ** exponent


@given(INT32, SCALES, INT8, INT8, INT8)
@example(2**30, 0.001, 0, -128, 127)
@example(-(2**30), 2.0, -128, -128, 127)
@example(5, 0.5, 0, -128, 127)
@example(7, 0.5, 0, -128, 127)
@example(-5, 0.5, 3, -128, 127)
def test_requantise_is_two_roundings_to_float32_and_one_to_even(accumulator, multiplier, zero_point, a, b):
    low, high = sorted((a, b))
    product = to_float32(to_float32(Fraction(accumulator)) * Fraction(multiplier))
    expected = min(max(round(product) + zero_point, low), high)
    found = arithmetic.requantise(
        np.array([accumulator], np.int64), np.array([multiplier], np.float32), zero_point, low, high
    )
    assert found.dtype == np.int8
    assert int(found[0]) == expected


@given(SCALES, SCALES, SCALES)
def test_multiplier_rounds_after_each_step_in_order(sx, sw, sy):
    expected = np.float32(np.float32(np.float32(sx) * np.float32(sw)) / np.float32(sy))
    assert arithmetic.requantise_multiplier(sx, [sw], sy)[0] == expected


@given(
    st.tuples(INT8, INT8),
    st.tuples(INT8, INT8, INT8),
    st.floats(2**-6, 2**6, width=32),
    st.floats(2**-6, 2**6, width=32),
)
def test_add_is_within_one_step_of_the_real_sum(values, zeros, sa, sb):
    sy = max(sa, sb)
    (a, b), (za, zb, zy) = values, zeros
    multipliers = arithmetic.add_multipliers(sa, sb, sy)
    found = arithmetic.add(np.array([a], np.int8), np.array([b], np.int8), zeros, multipliers, -128, 127)
    real = Fraction(sa) / Fraction(sy) * (a - za) + Fraction(sb) / Fraction(sy) * (b - zb) + zy
    assert abs(int(found[0]) - min(max(real, -128), 127)) <= Fraction(1, 2) + Fraction(1, 1000)


@given(st.integers(-(2**20), 2**20), st.integers(1, 4096))
def test_mean_rounds_half_away_from_zero(total, count):
    exact = Fraction(total, count)
    expected = int(abs(exact) + Fraction(1, 2)) * (1 if exact > 0 else -1)
    assert int(arithmetic.rounded_mean(np.array(total), count)) == expected


@given(st.lists(INT8, min_size=1, max_size=40), st.floats(2**-8, 1.0, width=32))
def test_softmax_is_within_one_step_of_float64(values, scale):
    x = np.array(values, np.int8)
    found = arithmetic.softmax(x, arithmetic.softmax_table(scale))
    weights = np.exp((x.astype(np.float64) - x.max()) * scale)
    expected = np.minimum(np.rint(weights / weights.sum() * 256) - 128, 127)
    assert np.abs(found - expected).max() <= 1


@given(st.floats(allow_nan=True, allow_infinity=True, width=32), SCALES, INT8)
def test_quantize_saturates_and_sends_nan_to_zero(value, scale, zero_point):
    found = int(arithmetic.quantize(np.array([value], np.float32), scale, zero_point)[0])
    if np.isnan(value):
        assert found == zero_point
    elif np.isinf(value):
        assert found == (127 if value > 0 else -128)
    else:
        inverse = np.float32(1) / np.float32(scale)
        with np.errstate(over="ignore"):
            product = np.float32(value) * inverse
        expected = np.rint(np.clip(np.float64(product), -1e6, 1e6)) + zero_point
        assert found == min(max(expected, -128), 127)


@given(INT8, SCALES, INT8)
def test_dequantize_is_one_rounding(value, scale, zero_point):
    found = arithmetic.dequantize(np.array([value], np.int8), scale, zero_point)
    assert Fraction(float(found[0])) == to_float32(Fraction(value - zero_point) * Fraction(scale))
