"""Targets by name, and what each error tells."""

import pytest

from lepton_targets import CPUS, available_target, features, get_target, host, target_names, targets
from lepton_targets.errors import LeptonError, UnavailableError, UsageError, nearest
from lepton_targets.host import machine, runs_here


def test_names_are_unique_and_found():
    names = target_names()
    assert len(names) == len(set(names))
    for target in targets():
        assert get_target(target.name) is target


def test_host_is_the_best_row_this_machine_runs():
    assert host().machine == machine()
    assert set(host().features) <= features()
    later = CPUS[CPUS.index(host()) + 1 :]
    assert not any(runs_here(cpu) for cpu in later)
    assert get_target("host") is host()


def test_an_unknown_name_lists_near_ones():
    with pytest.raises(UsageError, match="unknown target 'cortex-a73'; did you mean") as caught:
        get_target("cortex-a73")
    assert caught.value.exit_code == 2


def test_near_names_are_near():
    names = ("opencl", "x86-64", "aarch64", "input")
    assert nearest("nope", names) == ""
    assert nearest("opencll", names) == "; did you mean opencl?"
    assert nearest("x86", names) == "; did you mean x86-64?"


@pytest.mark.parametrize("name", ["cortex-m4", "cuda", "pynq-z2"])
def test_rows_without_a_back_end_say_so(name):
    with pytest.raises(UnavailableError, match="is not available in this version") as caught:
        available_target(name)
    assert caught.value.exit_code == 5
    assert "x86-64" in str(caught.value)


def test_every_error_has_the_exit_code_of_its_kind():
    def descendants(kind):
        return {kind, *(d for child in kind.__subclasses__() for d in descendants(child))}

    assert {kind.exit_code for kind in descendants(LeptonError)} == {2, 3, 4, 5}
