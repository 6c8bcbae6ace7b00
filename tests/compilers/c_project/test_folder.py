"""A C project's folder: whole or not there, whatever ends the writing; other people's files stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from lepton_compilers.c_project import folder as c_folder
from lepton_compilers.c_project.folder import project_folder, write_project
from lepton_targets.errors import BadInputError, UsageError

README = "# net\n\nA network compiled by lepton-edge 1.0\n"


def project(version: str) -> dict[str, bytes]:
    texts = {
        "CMakeLists.txt": version,
        "README.md": README + version,
        "example/main.c": version,
        "model/kernels/portable.h": version,
        "model/net.c": version,
    }
    return {path: text.encode() for path, text in texts.items()}


def found(folder: Path) -> dict[str, bytes]:
    """Every file there but what users build."""
    paths = [p for p in folder.rglob("*") if p.is_file() and "build" not in p.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def interrupted_after(monkeypatch: pytest.MonkeyPatch, renames: int) -> None:
    """Ctrl-C at the next rename after so many."""
    done = 0
    replace = os.replace

    def counted(source: Path, target: Path) -> None:
        nonlocal done
        if done == renames:
            raise KeyboardInterrupt
        done += 1
        replace(source, target)

    monkeypatch.setattr(c_folder.os, "replace", counted)


def test_a_new_folder_appears_whole(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "too" / "net"
    write_project(folder, project("1"))
    assert found(folder) == project("1")
    assert os.listdir(folder.parent) == ["net"]
    umask = os.umask(0)
    os.umask(umask)
    assert folder.stat().st_mode & 0o777 == 0o777 & ~umask


def test_a_process_killed_while_it_writes_leaves_no_folder(tmp_path: Path) -> None:
    script = (
        "import os, signal; from lepton_compilers.c_project import folder;"
        "write = folder._write_all;"
        "folder._write_all = lambda *given: (write(*given), os.kill(os.getpid(), signal.SIGKILL));"
        f"folder.write_project(folder.Path({str(tmp_path / 'net')!r}), {project('1')!r})"
    )
    done = subprocess.run([sys.executable, "-c", script])
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "net").exists()
    write_project(project_folder(tmp_path / "net"), project("2"))
    assert found(tmp_path / "net") == project("2")


@pytest.mark.parametrize("renames", range(5))
def test_an_interrupted_write_over_a_project_builds_nothing_from_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    folder = tmp_path / "net"
    write_project(folder, project("1"))
    (folder / "build").mkdir()
    (folder / "build" / "net.o").write_bytes(b"built")
    with monkeypatch.context() as patch:
        interrupted_after(patch, renames)
        with pytest.raises(KeyboardInterrupt):
            write_project(folder, project("2"))
    left = found(folder)
    assert "CMakeLists.txt" not in left
    assert left["README.md"].startswith(README.encode())
    assert (folder / "build" / "net.o").read_bytes() == b"built"
    assert not [name for name in os.listdir(folder) if name.startswith(".")]
    write_project(project_folder(folder), project("3"))
    assert found(folder) == project("3")


def test_a_write_that_fails_before_its_end_leaves_the_project_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    write_project(folder, project("1"))
    (folder / "model" / "more.h").mkdir()
    with pytest.raises(BadInputError, match=r"more\.h is a folder"):
        write_project(folder, {**project("2"), "model/more.h": b""})
    assert found(folder) == project("1")


def test_a_folder_with_other_files_takes_a_project_and_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"mine")
    write_project(project_folder(tmp_path), project("1"))
    assert found(tmp_path) == {"notes.txt": b"mine", **project("1")}


def test_through_a_link_the_linked_folder_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write_project(project_folder(tmp_path / "link"), project("1"))
    assert (tmp_path / "link").is_symlink()
    assert found(tmp_path / "real") == project("1")


@pytest.mark.parametrize("path", ["CMakeLists.txt", "README.md", "example/main.c"])
def test_somebody_elses_files_are_refused_before_the_work(tmp_path: Path, path: str) -> None:
    (tmp_path / "example").mkdir()
    (tmp_path / path).write_bytes(b"mine")
    with pytest.raises(UsageError, match=f"holds {path}"):
        project_folder(tmp_path)


@pytest.mark.parametrize("theirs", [{"model/net.c": b"mine"}, {"model/kernels/portable.h": b""}])
def test_no_file_of_somebody_else_is_replaced(tmp_path: Path, theirs: Mapping[str, bytes]) -> None:
    for path, content in theirs.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_bytes(content)
    with pytest.raises(UsageError, match="no C project of Lepton left there"):
        write_project(project_folder(tmp_path), project("1"))
    assert found(tmp_path) == theirs


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder nobody can write in")
def test_a_folder_that_takes_no_files_is_refused_before_the_work() -> None:
    with pytest.raises(BadInputError, match="cannot write the C project to /proc/a/b"):
        project_folder(Path("/proc/a/b"))
