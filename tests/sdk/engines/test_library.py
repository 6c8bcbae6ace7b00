"""Machine code is loaded from memory, or from a cache that nobody else can have touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lepton_sdk.engines import library
from lepton_targets.errors import UnavailableError
from support import bundles


def code(value: int) -> bytes:
    return bundles.machine_code(f"int answer(void) {{ return {value}; }}")


@pytest.fixture
def without_anonymous_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def refused(*_: object) -> int:
        raise OSError("not permitted")

    monkeypatch.setattr(os, "memfd_create", refused)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "lepton-edge" / "code"


def test_each_code_is_its_own(tmp_path: Path) -> None:
    assert [library.load(code(n), "x").answer() for n in (1, 2, 3)] == [1, 2, 3]


def test_unloading_frees_what_loading_took() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        library.load(code(1), "x")
    assert len(os.listdir("/proc/self/fd")) == before


def test_cache_is_private_and_used_again(without_anonymous_files: Path) -> None:
    assert library.load(code(1), "x").answer() == 1
    (file,) = without_anonymous_files.iterdir()
    assert without_anonymous_files.stat().st_mode & 0o777 == 0o700
    assert file.stat().st_mode & 0o777 == 0o500
    written = file.stat().st_mtime_ns
    assert library.load(code(1), "x").answer() == 1
    assert file.stat().st_mtime_ns == written


def test_altered_file_in_the_cache_is_replaced(without_anonymous_files: Path) -> None:
    without_anonymous_files.mkdir(parents=True, mode=0o700)
    library.load(code(4), "x")
    (file,) = without_anonymous_files.iterdir()
    file.unlink()
    file.write_bytes(code(5))
    assert library.load(code(4), "x").answer() == 4


def test_cache_that_others_can_write_is_refused(without_anonymous_files: Path) -> None:
    without_anonymous_files.mkdir(parents=True)
    without_anonymous_files.chmod(0o777)
    with pytest.raises(UnavailableError, match="chmod 700"):
        library.load(code(1), "x")


def test_code_that_is_none() -> None:
    with pytest.raises(UnavailableError, match="does not load the code for x"):
        library.load(b"no machine code", "x")
