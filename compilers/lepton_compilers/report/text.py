"""Numbers and names as a page shows them."""

from __future__ import annotations

import html
import re

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def escaped(text: object) -> str:
    """Text for HTML, attributes included; characters that XML can't hold become U+FFFD."""
    return html.escape(_NOT_IN_XML.sub("\ufffd", str(text)), quote=True)


def shortened(text: str, length: int) -> str:
    """The end of a long name, which tells layers apart better than its beginning."""
    return text if len(text) <= length else "…" + text[1 - length :]


def size(nbytes: int) -> str:
    """`814 B`, `52.3 KB`, `1.20 MB`, with 1 KB = 1,000 B."""
    for unit, factor in (("MB", 1_000_000), ("KB", 1_000)):
        if nbytes >= factor:
            return (
                f"{nbytes / factor:.3g} {unit}"
                if nbytes < 1000 * factor
                else f"{nbytes / factor:,.0f} {unit}"
            )
    return f"{nbytes} B"


def count(number: int) -> str:
    """`12,500`, `12.5 M`, `1.25 G`."""
    for unit, factor in (("G", 1_000_000_000), ("M", 1_000_000)):
        if number >= factor:
            return f"{number / factor:.3g} {unit}"
    return f"{number:,}"


def percent(share: float | None) -> str:
    """`97.3 %`, or a dash."""
    return "–" if share is None else f"{share * 100:.1f} %"


def decibel(value: float | None, exact: bool = False) -> str:
    """`31.4`, `exact`, or a dash."""
    return "exact" if exact else "–" if value is None else f"{value:.1f}".replace("-", "−")
