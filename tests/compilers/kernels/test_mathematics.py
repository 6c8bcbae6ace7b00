"""Elementary functions without a libm, measured in units in the last place against wider arithmetic."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lepton_compilers.backends.cpu.codegen.toolchain import compile_c
from lepton_compilers.backends.cpu.plans.headers import kernel_header
from lepton_targets import get_target
from lepton_targets.cpus import Cpu
from support.elf import parse

Array = npt.NDArray[Any]
Oracle = Callable[..., Array]


def _elementwise(function: Callable[[float], float]) -> Oracle:
    return lambda x: np.array([function(float(v)) for v in x.ravel()]).reshape(x.shape)


def _rounded_away(x: Array) -> Array:
    return np.copysign(np.trunc(np.abs(x)) + (np.abs(x) - np.trunc(np.abs(x)) >= 0.5), x)


EXACT: dict[str, Oracle] = {
    "fabs": np.abs,
    "nearbyint": np.rint,
    "rint": np.rint,
    "trunc": np.trunc,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": _rounded_away,
    "sqrt": np.sqrt,
    "sqrt_by_digits": np.sqrt,
}
ROUNDED: dict[str, Oracle] = {
    "exp": np.exp,
    "exp2": np.exp2,
    "exp10": lambda x: np.power(x.dtype.type(10), x),
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "erf": _elementwise(math.erf),
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
}
OF_TWO: dict[str, Oracle] = {"pow": np.power, "hypot": np.hypot, "atan2": np.arctan2}
EXACT_OF_TWO: dict[str, Oracle] = {"fmod": np.fmod, "copysign": np.copysign}
TOLERANCE_ULP = {np.float32: 2.0, np.float64: 3.0}
NARROWER = {np.float32: np.float64, np.float64: np.longdouble}


def _source() -> str:
    lines = [kernel_header("mathematics.h")]
    for kind, suffix in (("float", "f"), ("double", "")):
        for name in (*EXACT, *ROUNDED):
            function = f"lepton_sqrt{suffix}_by_digits" if name == "sqrt_by_digits" else name + suffix
            lines.append(
                f'__attribute__((visibility("default"))) void all_{name}{suffix}'
                f"(const {kind} *x, {kind} *y, int n)"
                f" {{ for (int i = 0; i < n; i++) y[i] = {function}(x[i]); }}"
            )
        for name in (*OF_TWO, *EXACT_OF_TWO):
            lines.append(
                f'__attribute__((visibility("default"))) void all_{name}{suffix}'
                f"(const {kind} *x, const {kind} *z, {kind} *y, int n)"
                f" {{ for (int i = 0; i < n; i++) y[i] = {name}{suffix}(x[i], z[i]); }}"
            )
    lines.append(
        '__attribute__((visibility("default"))) void all_sigmoidf(const float *x, float *y, int n)'
        " { for (int i = 0; i < n; i++) y[i] = lepton_sigmoidf(x[i]); }"
    )
    return "\n".join(lines)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    cpu = get_target("host")
    assert isinstance(cpu, Cpu)
    path = Path(tmp_path_factory.mktemp("mathematics"), "mathematics.so")
    path.write_bytes(compile_c(_source(), cpu))
    return ctypes.CDLL(str(path))


def _call(library: ctypes.CDLL, name: str, *operands: Array) -> Array:
    kind = operands[0].dtype.type
    y = np.empty_like(operands[0])
    function = getattr(library, f"all_{name}{'f' if kind is np.float32 else ''}")
    function(*(ctypes.c_void_p(a.ctypes.data) for a in (*operands, y)), ctypes.c_int(y.size))
    return y


def _numbers(kind: type[np.floating[Any]], n: int = 20_000) -> Array:
    """Every order of magnitude of both signs, the ranges where functions turn, whole numbers and corners."""
    rng = np.random.default_rng(7)
    info = np.finfo(kind)
    bits = rng.integers(0, np.iinfo(np.uint64).max, n, dtype=np.uint64)
    anywhere = bits.astype(np.uint32).view(np.float32) if kind is np.float32 else bits.view(np.float64)
    corners = np.array(
        [
            *(0, 1, 0.5, 2, 1.5, 2.5, 1 - info.epsneg, 1 + info.eps, info.max, info.tiny),
            *(info.smallest_subnormal, 1e-5, 0.625, math.pi / 4, math.pi / 2, math.pi, 22, 88.72283, 88.73),
            *(87.33, 103.97, 104, 709.78, 709.79, 745.1, 745.14, 710.4, 1e5, 2**23, 2**52, np.inf, np.nan),
        ]
    ).astype(kind)
    pieces = [
        anywhere,
        corners,
        -corners,
        rng.normal(0, 1, n),
        rng.uniform(-1.2, 1.2, n),
        rng.uniform(-750, 750, n),
        rng.uniform(0.7, 1.5, n),
        rng.normal(0, 10, n),
        np.arange(-300, 300) * 0.5,
        rng.uniform(-1e6, 1e6, n),
        np.arange(1, 2000) * math.pi / 2,
    ]
    return np.concatenate([piece.astype(kind) for piece in pieces])


def _pairs(kind: type[np.floating[Any]]) -> tuple[Array, Array]:
    x = _numbers(kind, 5_000)
    z = np.random.default_rng(8).permutation(x)
    whole = np.rint(np.random.default_rng(9).uniform(-40, 40, x.size)).astype(kind)
    corners = np.array([0, -0.0, 1, -1, 0.5, -0.5, 2, -2, 3, -3, np.inf, -np.inf, np.nan], kind)
    a, b = (grid.ravel() for grid in np.meshgrid(corners, corners))
    return np.concatenate([x, x, a]), np.concatenate([z, whole, b])


def _errors_ulp(found: Array, wide: Array) -> Array:
    """Distance from the exact value in units of the last place of its type; 0 where both are NaN or equal."""
    kind = found.dtype.type
    with np.errstate(all="ignore"):
        expected = wide.astype(kind)
        unit = np.spacing(np.abs(expected)).astype(wide.dtype)
        error = np.abs(found.astype(wide.dtype) - wide) / unit
        # Where the exact value rounds to infinity, the largest number is one unit away.
        largest = (np.abs(found) == np.finfo(kind).max) & np.isinf(expected)
        same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    return np.where(same, 0, np.where(largest, 1, np.where(np.isnan(error), np.inf, error)))


def _same_signs(found: Array, expected: Array) -> bool:
    known = ~np.isnan(expected)
    return bool((np.signbit(found[known]) == np.signbit(expected[known])).all())


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("name", EXACT)
def test_whole_numbers_and_roots_are_exact(library: ctypes.CDLL, name: str, kind: type[Any]) -> None:
    x = _numbers(kind)
    with np.errstate(all="ignore"):
        expected = EXACT[name](x).astype(kind)
    found = _call(library, name, x)
    np.testing.assert_array_equal(found, expected)
    assert _same_signs(found, expected)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("name", ROUNDED)
def test_functions_stay_within_units_in_the_last_place(
    library: ctypes.CDLL, name: str, kind: type[Any]
) -> None:
    x = _numbers(kind)
    with np.errstate(all="ignore"):
        wide = ROUNDED[name](x.astype(NARROWER[kind]))
    found = _call(library, name, x)
    errors = _errors_ulp(found, wide)
    worst = int(np.argmax(errors))
    assert errors[worst] <= TOLERANCE_ULP[kind], f"{name}({x[worst]!r}) = {found[worst]!r}, {wide[worst]!r}"
    assert _same_signs(found, wide)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("name", OF_TWO)
def test_functions_of_two_numbers(library: ctypes.CDLL, name: str, kind: type[Any]) -> None:
    a, b = _pairs(kind)
    with np.errstate(all="ignore"):
        wide = OF_TWO[name](a.astype(NARROWER[kind]), b.astype(NARROWER[kind]))
    found = _call(library, name, a, b)
    errors = _errors_ulp(found, wide)
    i = int(np.argmax(errors))
    assert errors[i] <= TOLERANCE_ULP[kind], f"{name}({a[i]!r}, {b[i]!r}) = {found[i]!r}, {wide[i]!r}"
    assert _same_signs(found, wide)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("name", EXACT_OF_TWO)
def test_exact_functions_of_two_numbers(library: ctypes.CDLL, name: str, kind: type[Any]) -> None:
    a, b = _pairs(kind)
    with np.errstate(all="ignore"):
        expected = EXACT_OF_TWO[name](a, b)
    found = _call(library, name, a, b)
    np.testing.assert_array_equal(found, expected)
    assert _same_signs(found, expected)


def test_sigmoid_is_accurate_in_both_tails(library: ctypes.CDLL) -> None:
    x = _numbers(np.float32)
    with np.errstate(all="ignore"):
        # In the left tail 1 + exp(−x) is exp(−x).
        wide = np.where(x < 0, np.exp(x.astype(float)), 1.0) / (1 + np.exp(-np.abs(x.astype(float))))
    assert _errors_ulp(_call(library, "sigmoid", x), wide).max() <= 2.5


@pytest.mark.parametrize("target", ["cortex-a53", "armv7", "riscv64"])
def test_compiles_without_a_library_for_other_cpus(target: str) -> None:
    cpu = get_target(target)
    assert isinstance(cpu, Cpu)
    assert parse(compile_c(_source(), cpu)).undefined == ()
