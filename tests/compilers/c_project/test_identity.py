"""What a project is called: names of files become identifiers of C."""

from __future__ import annotations

import pytest

from lepton_compilers.c_project.identity import c_identifier


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("KWS-ref.v2", "kws_ref_v2"),
        ("8bit", "model_8bit"),
        ("main", "model_main"),
        ("Größe", "gr__e"),
        ("", "model"),
    ],
)
def test_names_become_identifiers(stem: str, name: str) -> None:
    assert c_identifier(stem) == name
