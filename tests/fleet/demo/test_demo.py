"""The demo's promises: uneven, disjoint data, and a run of the whole story through the command."""

import numpy as np

from lepton_fleet.demo.digits import FIRST_EXAMPLES, TEST_EXAMPLES, load_digits
from lepton_fleet.demo.network import small_cnn
from lepton_fleet.demo.story import DEVICES, ROUNDS, Outcome
from support.command_line import lepton


def test_no_example_serves_twice_and_shares_are_uneven():
    digits = load_digits(4)
    parts = (digits.first, *digits.devices, digits.test)
    assert sum(len(part) for part in parts) == 1797
    assert (len(digits.first), len(digits.test)) == (FIRST_EXAMPLES, TEST_EXAMPLES)
    for device, share in enumerate(digits.devices):
        assert np.mean(share.labels % 4 == device) > 0.7
    again = load_digits(4)
    np.testing.assert_array_equal(again.devices[2].features, digits.devices[2].features)


def test_the_network_has_the_parameters_it_says():
    sizes = [int(np.prod(weight.dims)) for weight in small_cnn().graph.initializer]
    assert sum(sizes) == 7666


def test_an_outcome_names_what_went_wrong():
    good = Outcome(0.8, 0.9, [0.85, 0.9], 4, 16, 16, 0, {"confirmed": 4, "rolled_back": 0}, 2.0, 40.0)
    assert good.failures() == []
    bad = Outcome(0.8, 0.8, [0.8], 4, 16, 15, 1, {"confirmed": 3, "rolled_back": 1}, 2.0, 40.0)
    assert len(bad.failures()) == 3


def test_the_demo_raises_accuracy_and_loses_nothing():
    result = lepton("demo", "--json").json
    assert result["accuracy_after"] > result["accuracy_before"]
    assert len(result["accuracy_by_round"]) == ROUNDS
    assert result["updates_sent"] == result["updates_counted"] == DEVICES * ROUNDS
    assert result["updates_lost"] == 0
    assert result["rollout"] == {"confirmed": DEVICES, "rolled_back": 0}
    assert 0 < result["latency_us"] < 10_000
