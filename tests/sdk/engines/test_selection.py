"""The best code for this CPU is chosen, by what the CPU says it can do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lepton_sdk.bundle import Bundle
from lepton_sdk.engines import selection
from lepton_sdk.engines.selection import artifact_for, best_artifact
from lepton_targets.errors import UnavailableError, UsageError
from lepton_targets.host import runs_here
from support import bundles

VNNI = {"avx2", "fma", "bmi2", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"}
VBMI = {*VNNI, "avx512vbmi", "avx512_vbmi2", "avx512ifma", "avx512_bitalg", "avx512_vpopcntdq"}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    def pretend(name: str, features: set[str]) -> None:
        table = sys.modules[runs_here.__module__]
        for module in (table, selection):
            monkeypatch.setattr(module, "machine", lambda: name)
        monkeypatch.setattr(table, "features", lambda: frozenset(features))

    return pretend


@pytest.mark.parametrize(
    ("name", "features", "chosen"),
    [
        ("x86_64", {*VBMI, "avx512_bf16"}, "x86-64-avx512bf16"),
        ("x86_64", VBMI, "x86-64-avx512vbmi"),
        ("x86_64", VNNI, "x86-64-avx512vnni"),
        ("x86_64", {"avx2", "fma", "bmi2", "avx_vnni"}, "x86-64-avxvnni"),
        ("x86_64", {"avx2", "fma", "bmi2"}, "x86-64-avx2"),
        ("x86_64", set(), "x86-64"),
        ("aarch64", {"asimd"}, "cortex-a53"),
        ("aarch64", {"asimd", "asimddp"}, "cortex-a76"),
        ("armv7l", {"neon"}, None),
        ("s390x", set(), None),
    ],
)
def test_best_of_what_is_there(machine, tmp_path: Path, name, features, chosen) -> None:  # type: ignore[no-untyped-def]
    x86 = ("x86-64", "x86-64-avx2", "x86-64-avxvnni", "x86-64-avx512vnni", "x86-64-avx512vbmi")
    targets = ("cortex-a53", "cortex-a76", *x86, "x86-64-avx512bf16")
    bundle = Bundle.open(bundles.write(tmp_path / "a.lep", targets=targets))
    machine(name, features)
    if chosen is None:
        with pytest.raises(UnavailableError, match=f"this CPU is a {name}"):
            best_artifact(bundle)
    else:
        assert best_artifact(bundle).target == chosen


def test_a_target_that_is_named_is_what_runs(machine, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    targets = ("x86-64", "x86-64-avx2", "x86-64-avx512vnni", "cortex-a53")
    bundle = Bundle.open(bundles.write(tmp_path / "a.lep", targets=targets))
    machine("x86_64", {"avx2", "fma", "bmi2"})
    assert artifact_for(bundle, "x86-64").target == "x86-64"
    assert artifact_for(bundle, "x86-64-avx2").target == "x86-64-avx2"
    for name, error, said in (
        ("x86-64-avx512vnni", UnavailableError, "does not run the code for x86-64-avx512vnni"),
        ("cortex-a53", UnavailableError, "does not run the code for cortex-a53"),
        ("x86-64-avx3", UsageError, "no code for 'x86-64-avx3'; did you mean x86-64-avx2"),
        ("riscv64", UsageError, "no code for 'riscv64'"),
    ):
        with pytest.raises(error, match=said) as found:
            artifact_for(bundle, name)
        assert f"it has: {', '.join(targets)}" in str(found.value)
        assert "this CPU is a x86_64 that runs x86-64, x86-64-avx2" in str(found.value)
