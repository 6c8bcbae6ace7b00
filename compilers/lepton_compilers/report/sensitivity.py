"""What the search for int16 and float layers found, as the bundle keeps it (quantize/sensitivity.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lepton_compilers.report.tables import table
from lepton_compilers.report.text import decibel, escaped, percent


def sensitivity(found: object) -> str:
    """The section; empty where nothing was searched. found: the option `sensitivity` of a bundle."""
    if not isinstance(found, Mapping):
        return ""
    try:
        return _section(found)
    except (KeyError, TypeError, ValueError, AttributeError):
        return "<h2>What int8 can't hold</h2><p>The bundle's table is of a form that is not known here.</p>"


def _section(found: Mapping[str, Any]) -> str:
    kept = [row for row in found["layers"] if row["stays"] != found["activations"]]
    told = (
        f"On {found['n_examples']:,} labelled examples float reaches {percent(found['float_accuracy'])}, "
        f"{found['activations']} {percent(found['integer_accuracy'])}, this network "
        f"{percent(found['accuracy'])} with {len(kept)} layer(s) held otherwise; {found['trials']} trials."
    )
    head = ("layer", "int16 alone: SQNR dB", "accuracy", "float alone: SQNR dB", "accuracy", "stays")
    rows = [
        (
            row["layer"],
            decibel(row["int16_sqnr_db"]),
            percent(row["int16_accuracy"]),
            decibel(row["float_sqnr_db"]),
            percent(row["float_accuracy"]),
            row["stays"],
        )
        for row in found["layers"]
    ]
    return f"<h2>What int8 can't hold</h2><p>{escaped(told)}</p>{table(head, rows) if rows else ''}"
