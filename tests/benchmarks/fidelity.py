"""How near to float the quantised networks are: writes docs/fidelity.json and docs/FIDELITY.md.

    make fidelity

Our own int8 and int8x16, made from the float TFLite files, beside the int8 TFLite file of the same network on
LiteRT, all on the same samples, none of which anything was calibrated on.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support.fidelity import CALIBRATION, NETWORKS, measured  # noqa: E402

COUNTS = {"kws": 872}
OTHERS = 256
TITLES = {"resnet8": "ResNet-8", "vww": "VWW", "ad": "AD", "kws": "KWS"}


def measure() -> dict[str, Any]:
    """{network: {form: {sqnr_db, agreement}, "n": samples}}."""
    rows: dict[str, Any] = {}
    for network in NETWORKS:
        count = COUNTS.get(network, OTHERS)
        forms = {form: dataclasses.asdict(found) for form, found in measured(network, count).items()}
        rows[network] = {"n": count, "forms": forms}
        print(network, forms, file=sys.stderr)
    return {"calibration": CALIBRATION, "rows": rows}


def table(document: dict[str, Any]) -> list[str]:
    """The table as lines of Markdown."""
    forms = list(next(iter(document["rows"].values()))["forms"])
    lines = [f"| network | samples | {' | '.join(forms)} |", f"|---|---|{'---|' * len(forms)}"]
    for network, row in document["rows"].items():
        cells = [_cell(row["forms"][form]) for form in forms]
        lines.append(f"| {TITLES[network]} | {row['n']} | {' | '.join(cells)} |")
    return lines


def _cell(found: dict[str, float | None]) -> str:
    same = found["agreement"]
    return f"{found['sqnr_db']:.1f} dB" + ("" if same is None else f", {same:.3f}")


def page(document: dict[str, Any]) -> str:
    """docs/FIDELITY.md."""
    lines = [
        "# How near to float the quantised networks are",
        "",
        "SQNR of the output against the float network, and the share of samples with the same class (AD has",
        f"none). Ours: from the float TFLite file, defaults, {document['calibration']} samples; measured on",
        "others. *TFLite int8*: the int8 file of the same network, on LiteRT. KWS has recorded samples for",
        "both; the others structured synthetic ones (tests/support/structured_inputs.py), "
        "which favours ours,",
        "for the files were calibrated on real ones. int8x16 is bounded by its int8 weights. Written by",
        "`make fidelity`. Nearly all of VWW's inputs are of one class: its SQNR says more.",
        "",
        *table(document),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    found = measure()
    (ROOT / "docs" / "fidelity.json").write_text(json.dumps(found, indent=1) + "\n")
    (ROOT / "docs" / "FIDELITY.md").write_text(page(found), encoding="utf-8")
