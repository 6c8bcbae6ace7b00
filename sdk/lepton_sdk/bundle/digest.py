"""SHA-256, without loading OpenSSL where the interpreter's own code is fast enough.

OpenSSL's library costs 4 MB and milliseconds at the first hash, half of what a device's first inference may
cost in all; it hashes about twice as fast, which pays from a few megabytes on.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

OPENSSL_FROM_BYTES = 2 << 20

_HEX_DIGITS = "0123456789abcdef"


def _builtin() -> Callable[[Any], Any]:
    return getattr(importlib.import_module("_sha2" if sys.version_info >= (3, 12) else "_sha256"), "sha256")  # type: ignore[no-any-return]  # noqa: B009


def is_hex(text: str, low: int, high: int | None = None) -> bool:
    """Whether `text` is `low` (or up to `high`) lower-case hexadecimal digits."""
    return low <= len(text) <= (high or low) and not text.strip(_HEX_DIGITS)


def sha256_hex(content: bytes | memoryview) -> str:
    """Lower-case hexadecimal SHA-256 of `content`."""
    if len(content) < OPENSSL_FROM_BYTES and "hashlib" not in sys.modules:
        try:
            return str(_builtin()(content).hexdigest())
        except ImportError:
            # A Python built to use OpenSSL only.
            pass
    import hashlib

    return hashlib.sha256(content).hexdigest()
