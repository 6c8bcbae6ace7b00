"""Keep what TVM says to itself out of the user's terminal: it goes to the debug log."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import tvm

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Python warnings and prints become debug log lines; errors pass through."""
    said = io.StringIO()
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(said):
        warnings.simplefilter("always")
        try:
            yield
        finally:
            for line in (*(str(w.message) for w in caught), *said.getvalue().splitlines()):
                _log.debug("importer: %s", line)


def abandon(builder: Any) -> None:
    """End the block that an error left open; TVM writes a warning to stderr for a builder that has one."""
    # There is none where the error came before the function was begun.
    with contextlib.suppress(tvm.error.InternalError):
        builder._end_block()
