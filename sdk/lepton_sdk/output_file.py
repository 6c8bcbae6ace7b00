"""Whether a file can be written, asked before the work whose result it is to hold."""

from __future__ import annotations

import tempfile
from pathlib import Path

from lepton_targets.errors import BadInputError, UsageError


def check_output(path: Path | str, *sources: Path | str | None) -> Path:
    """The path, if a file can be written there; folders are not made, for a mistyped one would be made too.

    sources: files that are being read, which the output must not replace. Raises UsageError for one of these,
    BadInputError for a folder or a device, or where the path's own folder is missing or can't be written in.
    """
    path = Path(path)
    try:
        _check_place(path)
    except OSError as error:
        raise BadInputError(
            f"cannot write {path}: {error.strerror or error}", "choose another path"
        ) from None
    for source in sources:
        if source is not None and _same(path, Path(source)):
            raise UsageError(
                f"{path} would be written over {source}, which is read here", "choose another path"
            )
    return path


def _check_place(path: Path) -> None:
    if path.is_dir():
        raise BadInputError(f"cannot write {path}: it is a folder", "name a file in it")
    if path.exists() and not path.is_file():
        raise BadInputError(f"cannot write {path}: it is no ordinary file", "choose another path")
    folder = path.parent
    if not folder.exists():
        raise BadInputError(
            f"cannot write {path}: the folder {folder} does not exist", f"make it:  mkdir -p {folder}"
        )
    # Only an attempt tells of read-only and virtual file systems too.
    tempfile.TemporaryFile(dir=folder).close()


def _same(path: Path, source: Path) -> bool:
    if path.exists() and source.exists():
        return path.samefile(source)
    return path.resolve() == source.resolve()
