"""Our own int8 is no farther from float than the int8 TFLite file of the same network, on the same inputs.

The figures over more samples: docs/FIDELITY.md. The accuracy of KWS stands in test_quantise.py.
"""

from __future__ import annotations

import pytest

from support.fidelity import NETWORKS, measured

SAMPLES = {"resnet8": 96, "vww": 48, "ad": 256, "kws": 872}


@pytest.mark.parametrize("network", NETWORKS)
def test_own_int8_is_as_near_to_float_as_the_tflite_file(network: str) -> None:
    rows = measured(network, SAMPLES[network])
    print(network, rows)
    theirs, ours, wide = rows["TFLite int8"], rows["int8"], rows["int8x16"]
    assert ours.sqnr_db >= theirs.sqnr_db
    assert wide.sqnr_db >= ours.sqnr_db
    if ours.agreement is not None and theirs.agreement is not None:
        assert ours.agreement >= theirs.agreement
