"""Files that are either whole or absent: write beside the goal, fsync, rename, fsync the folder."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path


def write_durably(path: Path | str, content: bytes | Iterable[bytes], mode: int = 0o644) -> Path:
    """Replace `path` by `content` so that a crash at any moment leaves the old file or the new one.

    content: the bytes, or pieces of them in order. mode: permission bits of the new file.
    Raises OSError that names `path` (disc full, no permission); the temporary file is removed then.
    """
    path = Path(path)
    try:
        _write_beside(path, content, mode)
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise
    return path


def _write_beside(path: Path, content: bytes | Iterable[bytes], mode: int) -> None:
    make_folder(path.parent)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for piece in (content,) if isinstance(content, bytes | bytearray | memoryview) else content:
                file.write(piece)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    sync_folder(path.parent)


def make_folder(folder: Path) -> Path:
    """Make `folder` with its parents, so that each that is new survives power loss; returns it."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in reversed(missing):
        sync_folder(path.parent)
    return folder


def replace_link(link: Path, target: str) -> None:
    """Point the symbolic link `link` at `target` in one step: readers see the old target or the new one."""
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    os.symlink(target, temporary)
    os.replace(temporary, link)
    sync_folder(link.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename or unlink inside `folder` survive power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
