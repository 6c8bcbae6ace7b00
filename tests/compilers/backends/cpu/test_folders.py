"""A reader finds a file by its folder: each says what stands in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lepton_compilers.backends import cpu

ROOT = Path(cpu.__file__).parent
FOLDERS = sorted(path.parent for path in ROOT.rglob("__init__.py"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_folder_names_all_that_stands_in_it(folder: Path) -> None:
    told = (folder / "__init__.py").read_text(encoding="utf-8").split('"""')[1]
    files = {path.name for path in folder.glob("*.py")} - {"__init__.py"}
    folders = {path.parent.name for path in folder.glob("*/__init__.py")}
    assert files | folders
    assert {name for name in files | folders if name not in told} == set()
