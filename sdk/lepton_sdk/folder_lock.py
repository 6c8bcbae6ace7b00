"""One process at a time in a folder; the operating system gives the lock up when its process ends."""

from __future__ import annotations

import contextlib
import fcntl
from pathlib import Path
from typing import IO

from lepton_sdk.durable import make_folder
from lepton_targets.errors import UnavailableError


class FolderLock:
    """The right to work in `folder`, held from `acquire` to `release` or to the end of the process."""

    def __init__(self, folder: Path, name: str = ".lock") -> None:
        self._folder, self._path = folder, folder / name
        self._file: IO[str] | None = None

    def acquire(self, advice: str) -> None:
        """Take it; nothing where this object holds it already. advice: what to do when another process does.

        Raises UnavailableError naming the folder, OSError where it can't be written.
        """
        if self._file is not None:
            return
        make_folder(self._folder)
        with contextlib.ExitStack() as undo:
            file = undo.enter_context(self._path.open("w"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UnavailableError(f"another process works in {self._folder}", advice) from error
            undo.pop_all()
            self._file = file

    def release(self) -> None:
        """Give it up; nothing where it isn't held."""
        if self._file is not None:
            self._file.close()
            self._file = None
