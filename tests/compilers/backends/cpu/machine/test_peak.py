"""The loop that shows what a core can do: there for instruction sets that have one, and it does its work."""

from __future__ import annotations

import pytest

from lepton_compilers.backends.cpu.machine.peak import peak_call
from lepton_sdk.benchmark import measure
from lepton_targets import get_target
from lepton_targets.host import runs_here

X86 = ("x86-64-avx2", "x86-64-avxvnni", "x86-64-avx512vnni", "x86-64-avx512vbmi", "x86-64-avx512bf16")
LOOPS = [(target, dtype) for target in X86 for dtype in ("int8", "float32")]


@pytest.mark.parametrize(("target", "dtype"), [*LOOPS, ("x86-64-avx512bf16", "bf16")])
def test_a_loop_does_vectors_of_products(target: str, dtype: str) -> None:
    if not runs_here(get_target(target)):
        assert peak_call(target, dtype) is None
        pytest.skip(f"this machine does not execute {target}")
    found = peak_call(target, dtype)
    assert found is not None
    call, macs = found
    (latency,) = measure([call], 0.05)
    # A vector an hour would be wrong, as would be what no core can do: ten of 64 bytes a cycle at 6 GHz.
    lanes = {"int8": 64, "float32": 16, "bf16": 32}[dtype] // (1 if "avx512" in target else 2)
    assert lanes * 50e6 < macs / (latency.min * 1e-6) < lanes * 60e9


def test_other_instruction_sets_and_types_have_none() -> None:
    assert peak_call("x86-64", "int8") is None
    assert peak_call("cortex-a53", "int8") is None
    assert peak_call("x86-64-avx512vnni", "int16") is None
    assert peak_call("x86-64-avx512vbmi", "bf16") is None
    assert peak_call("no such target", "int8") is None
