"""The folder of a C project: what may stand there before, and how it comes to be whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from lepton_sdk.durable import sync_folder
from lepton_targets.errors import BadInputError, UsageError

BUILD_FILE, MARKED = "CMakeLists.txt", "README.md"
_MARK = "\nA network compiled by lepton-edge "
_PLAIN = (BUILD_FILE, MARKED, "example/main.c")
"""Files that every project has and other folders may have too."""


def project_folder(path: Path) -> Path:
    """The folder to write into; an earlier C project there is written anew.

    Raises UsageError where a file is in its place, or where it holds somebody else's files that the project's
    would replace; BadInputError where nothing can be written.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file; a C project is a folder", "choose another path")
    _check_others(path, _PLAIN)
    standing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    try:
        # Only an attempt tells of read-only and virtual file systems too.
        tempfile.TemporaryFile(dir=standing).close()
    except OSError as error:
        raise _unwritable(path, error) from None
    return path


def write_project(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files, given by path, under `folder`, which is made where it is missing.

    They are written beside first. A new folder then appears as a whole; in one that stands they are renamed
    into their places, the build file last: whatever ends that leaves nothing that builds from halves.
    Raises UsageError as `project_folder` does, BadInputError where files can't be written.
    """
    _check_others(folder, files)
    try:
        _write_beside(folder.resolve(), files)
    except OSError as error:
        raise _unwritable(folder, error) from None


def _write_beside(folder: Path, files: Mapping[str, bytes]) -> None:
    stands = folder.exists()
    home = folder if stands else folder.parent
    home.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=home))
    try:
        staged = beside / "project"
        _write_all(staged, files)
        if not stands:
            os.rename(staged, folder)
            sync_folder(home)
            return
        for path in files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            if (folder / path).is_dir():
                raise IsADirectoryError(0, f"{folder / path} is a folder")
        (folder / BUILD_FILE).unlink(missing_ok=True)
        # The marked file comes first: what is left of a write that is ended may be written over.
        for path in sorted(files, key=lambda path: (path == BUILD_FILE, path != MARKED)):
            os.replace(staged / path, folder / path)
        sync_folder(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def _check_others(folder: Path, paths: Iterable[str]) -> None:
    taken = [path for path in paths if (folder / path).exists()]
    if taken and not _is_c_project(folder):
        raise UsageError(
            f"{folder} holds {', '.join(taken)}, which no C project of Lepton left there",
            "choose a new folder, as a subfolder of yours:  add_subdirectory  builds it",
        )


def _is_c_project(folder: Path) -> bool:
    """Whether an earlier C project stands in `folder`: a line of its README.md, which all have, says so."""
    try:
        return _MARK in (folder / MARKED).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def _unwritable(folder: Path, error: OSError) -> BadInputError:
    why = error.strerror or str(error)
    return BadInputError(f"cannot write the C project to {folder}: {why}", "choose another folder")
