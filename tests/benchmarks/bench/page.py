"""docs/BENCHMARKS.md: every table with its kind (measured, modelled, emulated) and what it ran on."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import fidelity
from benchmarks.bench import tables

HOW = """
    Times are the least of batches that took turns in one process, in microseconds; ratios are ours ÷ the
    fastest rival's, by medians and by least times: below 1 is faster. Each row ran in a process of its
    own, bound to as many cores as it has threads.
"""
ONE_THREAD = """
    *Of peak*: the network's multiply-accumulates a second over those of a loop that does nothing else and
    took turns with it; products that Winograd's method saves count, so float32 may pass 100 %. *What
    binds*: [below](#what-binds). OpenVINO computes in float32 where the file does.
"""
TWO_THREADS = "*Speed-up*: our own one thread ÷ two, in turns."
WHAT_BINDS = """
    The least time of a network is the sum over its layers of what each needs at least: its
    multiply-accumulates at the rate of the multiply loop, or its weights and maps, read once, at the rate
    of the level they come from, whichever takes longer; and a call. Weights come from the nearest level
    that holds all of them with the largest layer's maps; where the level before holds more than half,
    what it holds comes from there. A layer's maps come from the nearest level that holds what the layer
    touches. Winograd's layers count the products that are done. Shares are of our least time; the *rest*
    is work that no limit of the model asks for: rounding and clamping, borders, lanes that a layer's
    channels leave empty, transforms, loads that wait. Where it is the largest part ("other work"), better
    kernels could still gain it; where it is not, the named limit binds.
"""
TRAINING = """
    Forward, cross-entropy, backward, SGD with momentum; PyTorch with its fused optimiser, the ratio to the
    fastest of its forms. The autoencoder's outputs count as class scores, for cross-entropy is the loss that
    we compile. *Goal*: the ratio meant to be reached with one thread.
"""
BFLOAT16 = "`--precision bf16` ([arithmetic.md](arithmetic.md)); the ratio to our own float32, in turns."
BOARDS = """
    No board was timed. Instructions of one inference, by valgrind on x86-64 and under qemu-user
    elsewhere: [INSTRUCTIONS.md](INSTRUCTIONS.md).
"""


def page(document: dict[str, Any], docs: Path, plot: str) -> str:
    """The page. docs: the folder of the other pages' JSON. plot: the name of the chart's file."""
    on = document["machine"]["processor"]
    lines = ["# Benchmarks", "", *_machine(document), "", *prose(HOW), "", f"![ratios]({plot})", ""]
    one, two = (tables.inference(document, threads) for threads in (1, 2))
    lines += _section(f"One thread (measured on {on})", ONE_THREAD, one)
    lines += _section(f"Two threads each (measured on {on})", TWO_THREADS, two)
    lines += _left_out(document)
    if own := tables.besides(document):
        lines += _section(f"Products of bfloat16 beside our own float32 (measured on {on})", BFLOAT16, own)
    lines += ['<a id="what-binds"></a>', ""]
    if document.get("limits"):
        both = [*tables.limits(document), "", *tables.floors(document)]
        lines += _section(f"What binds (modelled from limits measured on {on})", WHAT_BINDS, both)
    else:
        lines += _section("What binds", "The machine's limits were not measured in this run.", [])
    lines += _section(f"Training: one step (measured on {on})", TRAINING, tables.training(document))
    through = f"Measured on {on}: int8, one thread, through the `lepton` command."
    lines += _section("Sizes, and x86-64 without vectors beyond SSE2", through, tables.devices(document))
    fresh = f"Measured on {on}: medians of fresh processes."
    lines += _section("First inference, beyond `import numpy`", fresh, tables.first_inferences(document))
    lines += _section("Other instruction sets (counted; all but x86-64 emulated)", BOARDS, [])
    lines += _fidelity(docs)
    return "\n".join(lines).rstrip() + "\n"


def prose(text: str) -> list[str]:
    """A paragraph as lines."""
    return textwrap.wrap(" ".join(text.split()), 110, break_long_words=False, break_on_hyphens=False)


def _section(title: str, text: str, table: Sequence[str]) -> list[str]:
    return [f"## {title}", "", *prose(text), "", *table, *([""] if table else [])]


def _machine(document: dict[str, Any]) -> list[str]:
    machine = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(document["versions"].items()))
    lines = prose(
        f"Measured {document['date']} on {machine['processor']}, {machine['cores']} cores, "
        f"{len(machine['usable_cores'])} of them ours to use, Python {machine['python']}, by `make bench` in "
        f"{document['seconds'] / 60:.0f} minutes. Versions: {versions}."
    )
    rows = (*document["inference"], *document["training"])
    marked = sum(row.get("others_cores", 0) > document["busy_cores"] for row in rows)
    if marked:
        lines += ["", *prose(
            f"**The machine was not quiet.** In {marked} of {len(rows)} rows, marked {tables.BUSY}, other "
            f"processes kept more than {document['busy_cores']} cores busy: compare least times only."
        )]  # fmt: skip
    return lines


def _left_out(document: dict[str, Any]) -> list[str]:
    reasons = {
        f"{name} for {row['network']} {row.get('precision', '')}".strip(): reason
        for row in (*document["inference"], *document["training"])
        for name, reason in row.get("left_out", {}).items()
    }
    lines = [f"- {what}: {reason}" for what, reason in reasons.items()]
    lines += [f"- {what}" for what in document["missing"]]
    return ["Left out:", "", *lines, ""] if lines else []


def _fidelity(docs: Path) -> list[str]:
    path = docs / "fidelity.json"
    if not path.is_file():
        return []
    text = """Measured by `make fidelity` ([FIDELITY.md](FIDELITY.md)): SQNR of the output, share of equal
        classes. ONNX's own node tests: [onnx-coverage.md](onnx-coverage.md)."""
    return _section("Nearness to float", text, fidelity.table(json.loads(path.read_text())))
