"""What a call costs beyond the model's own code is measured without the model, and changes no session."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lepton_sdk.overheads import call_overheads
from lepton_sdk.session import Session
from support import bundles


def test_what_a_call_costs_beyond_the_model_leaves_the_session_as_it_was(tmp_path: Path) -> None:
    session = Session(bundles.write(tmp_path / "tiny.lep"))
    x = np.arange(10, dtype=np.int8).reshape(1, 10)
    before = session.run(x)["y"]
    run, run_into = call_overheads(session, 0.02)
    assert run.min > 0
    assert run_into.min > 0
    np.testing.assert_array_equal(session.run(x)["y"], before)
    y = np.zeros_like(before)
    session.run_into(x, y)
    np.testing.assert_array_equal(y, before)
