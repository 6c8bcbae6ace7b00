"""docs/onnx-coverage.md says which of ONNX's node tests pass, and a sample of them is held against it.

To run all and rewrite it:  make onnx-coverage
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import pytest

sys.path.insert(0, str(Path(__file__).parents[3]))

from lepton_compilers.importers.limits import ONNX_LIMITS
from support.onnx_node_tests import OLDEST_OPSET, Case, cases, outcomes, outcomes_apart

PAGE = Path(__file__).parents[4] / "docs" / "onnx-coverage.md"
MOST_NODES_OF_A_SAMPLE = 40
"""A test whose model is larger is left to the whole run: compiling it takes seconds."""


def by_operator(chosen: Sequence[Case]) -> dict[str, list[Case]]:
    """Cases by the operator they are about, both in order."""
    found: dict[str, list[Case]] = {}
    for case in sorted(chosen, key=lambda c: (c.operator, c.name)):
        found.setdefault(case.operator, []).append(case)
    return found


def in_scope() -> list[Case]:
    """Cases that are to pass."""
    return [case for case in cases() if not case.outside]


def sample() -> list[Case]:
    """Of every operator in scope the test with the smallest file, as ONNX writes it."""
    smallest = [
        min(held, key=lambda c: ("_expanded" in c.name, c.test.model.ByteSize(), c.name))
        for held in by_operator(in_scope()).values()
    ]
    return [c for c in smallest if len(c.test.model.graph.node) <= MOST_NODES_OF_A_SAMPLE]


def page(results: Mapping[str, str]) -> str:
    """The whole page. results: by test name "" or what went wrong, of all cases in scope."""
    tests, inside = cases(), in_scope()
    passed = [case for case in inside if not results[case.name]]
    rows, whole = [], 0
    for operator, held in by_operator(inside).items():
        good = sum(not results[case.name] for case in held)
        whole += good == len(held)
        rows.append(f"| {operator} | {good}/{len(held)} | {ONNX_LIMITS.get(operator, '')} |")
    reasons: dict[str, dict[str, int]] = {}
    for case in tests:
        if case.outside:
            counted = reasons.setdefault(case.outside, {})
            counted[case.operator] = counted.get(case.operator, 0) + 1
    failing = [f"- `{case.name}`: {_plain(results[case.name])}" for case in inside if results[case.name]]
    lines = [
        "# ONNX's node tests",
        "",
        "Written by `make onnx-coverage`, which collects the tests from the installed package",
        f"(onnx {onnx.__version__} at the time), of opset {OLDEST_OPSET} or later: each is compiled for",
        "the plain x86-64 target (the C compiler at -O1, to save time), run natively and on the reference",
        "executor, and compared",
        "with ONNX's own results in ONNX's tolerance: rtol 1e-3, atol 1e-7; with float16 2e-3, with bfloat16",
        "1.6e-2 and atol 1e-3, because halves are computed in float32. Weights, axes, shapes, scales and the",
        "like are initialisers, as a model holds them.",
        "",
        "| | passed | of | share |",
        "|---|---|---|---|",
        _share("tests in scope", len(passed), len(inside)),
        _share("operators in scope, all their tests", whole, len(rows)),
        _share("all tests, in scope or not", len(passed), len(tests)),
        "",
        "## In scope",
        "",
        "| operator | passed | limits |",
        "|---|---|---|",
        *rows,
        "",
        "## Tests in scope that fail",
        "",
        *(failing or ["None."]),
        "",
        "## Out of scope",
        "",
        "| why | operators, and the number of their tests |",
        "|---|---|",
        *(
            f"| {why} | {', '.join(f'{name} {n}' for name, n in sorted(held.items()))} |"
            for why, held in sorted(reasons.items())
        ),
        "",
    ]
    return "\n".join(lines)


def _share(what: str, good: int, total: int) -> str:
    return f"| {what} | {good} | {total} | {100 * good / total:.1f} % |"


def _plain(said: str) -> str:
    """A reason without what differs from run to run."""
    return re.sub(r"_[0-9a-f]{16}\b", "", said.replace("|", "/"))[:160]


def failing_names(text: str) -> set[str]:
    """Names of the tests that a page lists as failing."""
    return set(re.findall(r"^- `(\w+)`:", text, re.MULTILINE))


def test_the_page_counts_every_test() -> None:
    text = PAGE.read_text(encoding="utf-8")
    if f"onnx {onnx.__version__} at" not in text:
        pytest.skip("the page was written with another onnx; rewrite it:  make onnx-coverage")
    failing = failing_names(text)
    results = {case.name: "listed" if case.name in failing else "" for case in in_scope()}
    assert failing <= set(results)
    fresh = re.sub(r"`: listed$", "`", page(results), flags=re.MULTILINE)
    assert fresh == re.sub(r"(`): .*$", r"\1", text, flags=re.MULTILINE), "rewrite it:  make onnx-coverage"


def test_most_of_what_is_in_scope_passes() -> None:
    inside = in_scope()
    failing = failing_names(PAGE.read_text(encoding="utf-8"))
    broken = {case.operator for case in inside if case.name in failing}
    assert len(failing) <= 0.05 * len(inside)
    assert len(broken) <= 0.05 * len(by_operator(inside))


def test_a_sample_passes_as_the_page_says() -> None:
    chosen = sample()
    failing = failing_names(PAGE.read_text(encoding="utf-8"))
    found = {name: said for name, said in outcomes(chosen).items() if said}
    assert set(found) == failing & {case.name for case in chosen}, found


if __name__ == "__main__":
    start, results = time.monotonic(), dict[str, str]()
    for part in outcomes_apart(in_scope()):
        results |= part
        good = sum(not said for said in results.values())
        print(f"{len(results)} run, {good} pass, {time.monotonic() - start:.0f} s", flush=True)
    PAGE.write_text(page(results), encoding="utf-8")
