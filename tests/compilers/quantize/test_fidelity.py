"""Our own int8 is no farther from float than the int8 TFLite file of the same network, on the same inputs.

The figures over more samples: docs/FIDELITY.md. The accuracy of KWS stands in test_quantise.py.
"""

from __future__ import annotations

import pytest

from support.fidelity import NETWORKS, OWN, measured

SAMPLES = {"resnet8": 96, "vww": 32, "ad": 256, "kws": 872}


@pytest.mark.parametrize("network", NETWORKS)
def test_own_int8_is_as_near_to_float_as_the_tflite_file(network: str) -> None:
    rows = measured(network, SAMPLES[network], {"int8": OWN["int8"]})
    print(network, rows)
    theirs, ours = rows["TFLite int8"], rows["int8"]
    assert ours.sqnr_db >= theirs.sqnr_db
    if ours.agreement is not None and theirs.agreement is not None:
        assert ours.agreement >= theirs.agreement
