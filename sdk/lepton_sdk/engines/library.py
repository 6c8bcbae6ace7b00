"""Loads machine code that was checked already, without leaving a file that others could change.

From an anonymous file in memory where the system has them; otherwise from a cache directory that only this
user can enter, in which a file is used only when its owner, mode and SHA-256 are right.
"""

from __future__ import annotations

import _ctypes
import contextlib
import ctypes
import os
import weakref
from typing import TYPE_CHECKING

from lepton_sdk.bundle.digest import sha256_hex
from lepton_targets.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path


def load(code: bytes, name: str) -> ctypes.CDLL:
    """The shared object in `code`; unloaded when nothing refers to it or its functions any more.

    name: for error messages. Raises UnavailableError where the system refuses to load it.
    """
    try:
        descriptor = os.memfd_create("lepton", os.MFD_CLOEXEC)
    except (AttributeError, OSError):
        return _load_from_cache(code, name)
    try:
        _write(descriptor, code)
        library = ctypes.CDLL(f"/proc/self/fd/{descriptor}")
    except OSError:
        os.close(descriptor)
        return _load_from_cache(code, name)
    # The loader knows libraries by path: the number must stay taken until this one is unloaded.
    weakref.finalize(library, _unload, library._handle, descriptor).atexit = False
    return library


def cache_directory() -> Path:
    """Where code lies on systems without anonymous files: $XDG_CACHE_HOME/lepton-edge/code or ~/.cache/…."""
    from pathlib import Path

    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(root, "lepton-edge", "code")


def _load_from_cache(code: bytes, name: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(os.fspath(_cached(code, cache_directory())))
    except OSError as error:
        raise UnavailableError(
            f"this system does not load the code for {name}: {error}",
            "run it with the engine 'reference', or let the cache directory lie where programs may run",
        ) from None


def _cached(code: bytes, directory: Path) -> Path:
    from lepton_sdk.durable import write_durably

    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _require_private(directory)
    digest = sha256_hex(code)
    path = directory / f"{digest}.so"
    with contextlib.suppress(FileNotFoundError):
        if not path.is_symlink() and _is_private(path) and sha256_hex(path.read_bytes()) == digest:
            return path
    return write_durably(path, code, mode=0o500)


def _require_private(directory: Path) -> None:
    if directory.is_symlink() or not _is_private(directory):
        raise UnavailableError(
            f"the cache directory {directory} could be changed by other users, so no code is loaded from it",
            f"remove it, or:  chmod 700 {directory}",
        )


def _is_private(path: Path) -> bool:
    status = path.lstat()
    return status.st_uid == os.getuid() and not status.st_mode & 0o022


def _write(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _unload(handle: int, descriptor: int) -> None:
    _ctypes.dlclose(handle)
    os.close(descriptor)
