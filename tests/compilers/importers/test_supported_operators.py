"""docs/operators.md says what the importers' tables say.

To rewrite it:  python tests/compilers/importers/test_supported_operators.py
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from lepton_compilers.importers.limits import ONNX_LIMITS, TFLITE_LIMITS, TORCH_LIMITS, listed
from lepton_compilers.importers.onnx import importer as onnx
from lepton_compilers.importers.onnx.rules.quantised_layers import MICROSOFT
from lepton_compilers.importers.onnx.scope import OUT_OF_SCOPE
from lepton_compilers.importers.tflite import importer as tflite
from lepton_compilers.importers.tflite.refused import REFUSED
from lepton_compilers.importers.torch import operators as torch_operators

PAGE = Path(__file__).parents[3] / "docs" / "operators.md"


def _table(operators: Iterable[str], limits: Mapping[str, str]) -> list[str]:
    rows = [f"| {name} | {limits.get(name, '')} |" for name in sorted(operators)]
    return ["| operator | limits |", "|---|---|", *rows, ""]


def page() -> str:
    """The whole page."""
    lines = [
        "# Operators that models may have",
        "",
        "Written from the compiler's tables (tests/compilers/importers/test_supported_operators.py).",
        "A model with any other operator is refused with the name of every layer that has one.",
        "",
        "## ONNX",
        "",
        f"Opset {onnx.OLDEST_OPSET} or later, one file, shapes fixed by the file or by `--shape`; inputs of",
        "any integer type, bool, float16, float32, float64. bfloat16 comes and goes as float32; halves are",
        "computed in float32. Whatever only constants and shapes decide is computed at compile time, of any",
        "operator; If, Loop and Scan are laid out where they decide the course. docs/onnx-coverage.md has",
        "what of ONNX's node tests passes.",
        "",
        *_table(onnx.SUPPORTED, ONNX_LIMITS),
        "Of the domain com.microsoft, as ONNX Runtime's quantiser writes it:",
        f"{', '.join(sorted(MICROSOFT))}.",
        "",
        "Outside, each with the reason that a refusal names:",
        "",
        "| operator | why |",
        "|---|---|",
        *[f"| {name} | {why} |" for name, why in sorted(OUT_OF_SCOPE.items())],
        "",
        "## PyTorch",
        "",
        "A `.pt2` file of `torch.export.save(torch.export.export(model.eval(), inputs), 'model.pt2')`, "
        "or the",
        "ExportedProgram itself; float32 parameters; float32, integer or boolean inputs; shapes from the"
        " export or `--shape`.",
        "The file is read without running anything in it: pickles, custom objects and compiled libraries are",
        "refused or left out, though `torch.export.load` would load them (decision 013). The extra `torch`",
        "installs PyTorch 2.13, whose files these are.",
        "",
        "The operators are those that are left when PyTorch has traced the graph anew; they belong to its",
        "namespace aten, quantize and dequantize to quantized_decomposed (PT2E). It writes in terms of them,",
        f"among many others: {', '.join(torch_operators.TAKEN_APART)}.",
        "",
        *_table(torch_operators.SUPPORTED, TORCH_LIMITS),
        "## TFLite",
        "",
        "One subgraph beside those that run once; float32, also with float16 or int8 weights; int8; int16",
        "with int8 weights (16x8); uint8 at the ends.",
        "",
        "Variables (VAR_HANDLE and what reads and assigns it) live between calls; `Session.reset()` gives",
        "them their first values again. Refused, with the reason that the message gives:",
        "",
        "| operator | why |",
        "|---|---|",
        *[f"| {name} | {why} |" for name, why in sorted(REFUSED.items())],
        "",
        *_table(tflite.SUPPORTED, TFLITE_LIMITS),
    ]
    return "\n".join(lines)


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), f"rewrite it:  python {Path(__file__).name}"


def test_what_is_refused_with_a_reason_is_not_supported() -> None:
    assert not set(REFUSED) & set(tflite.SUPPORTED)


def test_limits_are_of_supported_operators() -> None:
    assert set(ONNX_LIMITS) <= set(onnx.SUPPORTED)
    assert set(TFLITE_LIMITS) <= set(tflite.SUPPORTED)
    assert set(TORCH_LIMITS) <= set(torch_operators.SUPPORTED)


def test_a_list_names_limits_beside_operators() -> None:
    assert listed(["Add", "TopK"], ONNX_LIMITS) == "Add, TopK (a constant k)"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
