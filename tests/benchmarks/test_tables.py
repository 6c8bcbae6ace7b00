"""What `make bench` writes from a run's document: ratios, means, marks, what failed, README.md's figures."""

from __future__ import annotations

import xml.etree.ElementTree as xml
from pathlib import Path
from typing import Any

import pytest

from benchmarks.bench import plot, readme, tables
from benchmarks.bench.inference import ratios
from benchmarks.bench.page import page


def times(**least: float) -> dict[str, dict[str, float]]:
    return {name: {"min": us, "median": us * 1.1, "p99": us * 2} for name, us in least.items()}


def contest(network: str, precision: str, threads: int, **least: float) -> dict[str, Any]:
    taken = times(**least)
    return {
        "network": network,
        "precision": precision,
        "threads": threads,
        "threads_used": threads,
        "latency_us": taken,
        "versions": {},
        "left_out": {},
        "peak_fraction": 0.9 if threads == 1 else None,
        "speed_up": {"min": 1.5, "median": 1.4} if threads > 1 else None,
        "others_cores": 0.0,
        **ratios(taken, [name for name in taken if name != "lepton"]),
    }


@pytest.fixture
def document() -> dict[str, Any]:
    step = {"batch": 16, "threads": 1, "goal": 0.42, "versions": {}, "left_out": {}, "peak_fraction": 0.5}
    taken = times(lepton=50.0, eager=200.0, compiled=100.0)
    return {
        "date": "2026-01-02",
        "machine": {"processor": "A CPU", "cores": 4, "usable_cores": [0, 1], "python": "3.11"},
        "seconds": 300.0,
        "busy_cores": 0.2,
        "versions": {"litert": "2.0"},
        "missing": [],
        "limits": {
            "macs_a_us": {"int8": 1000.0},
            "levels": [{"name": "memory", "bytes": None, "bytes_a_us": 10.0}],
            "call_us": 0.1,
        },
        "builds": {
            "KWS int8": {"layers": [{"dtype": "int8", "macs": 9000, "weights_bytes": 10, "maps_bytes": 10}]}
        },
        "inference": [
            contest("KWS", "int8", 1, lepton=10.0, litert=40.0, openvino=20.0),
            contest("AD", "int8", 1, lepton=10.0, litert=80.0),
            contest("KWS", "int8", 2, lepton=6.0, litert=30.0),
            {
                "network": "VWW",
                "precision": "int8",
                "threads": 1,
                "failed": "exit 9: killed",
                "latency_us": {},
            },
        ],
        "training": [
            {
                "network": "CNN",
                **step,
                "refused": None,
                "latency_us": taken,
                **ratios(taken, ["eager", "compiled"]),
            },
            {"network": "LSTM", **step, "refused": "no gradient", "latency_us": {}},
        ],
        "devices": [],
    }


def cells(lines: list[str], *begin: str) -> list[str]:
    """The cells of the row that begins so."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    (found,) = (row for row in rows if row[: len(begin)] == list(begin))
    return found


def test_ratios_are_to_the_fastest_rival() -> None:
    found = ratios(times(lepton=10.0, litert=40.0, openvino=20.0), ["litert", "openvino"])
    assert found == {"fastest": "openvino", "ratio_median": 0.5, "ratio_min": 0.5}
    assert ratios(times(lepton=10.0), [])["ratio_min"] is None


def test_a_row_shows_times_ratios_and_what_binds(document: dict[str, Any]) -> None:
    lines = tables.inference(document, 1)
    assert cells(lines, "KWS", "int8")[2:] == [
        *("10.0", "40.0", "–", "20.0", "0.50", "0.50", "90%", "multiplies 90%"),
    ]
    # Nothing is known of its layers.
    assert cells(lines, "AD", "int8")[-1] == "–"
    # The geometric mean of 1/2 and 1/8.
    assert "0.25" in cells(lines, "geometric mean of 2", "int8")


def test_two_threads_show_the_speed_up(document: dict[str, Any]) -> None:
    assert cells(tables.inference(document, 2), "KWS", "int8")[-3:] == ["0.20", "0.20", "1.50 ×"]
    document["inference"][2]["threads_used"] = 1
    assert cells(tables.inference(document, 2), "KWS", "int8")[-1] == "runs on one"


def test_another_precision_of_ours_has_a_table_of_its_own(document: dict[str, Any]) -> None:
    assert tables.besides(document) == []
    taken = {"lepton": 10.0, "lepton, other precision": 20.0}
    document["inference"].append({**contest("KWS", "bf16", 1, **taken), "beside": "float32"})
    row = cells(tables.besides(document), "KWS", "bf16")
    assert row[2:] == ["1", "10.0", "float32", "20.0", "0.50", "0.50", "90%"]
    assert not any("bf16" in line for line in tables.inference(document, 1))


def test_what_failed_stays_in_the_table_with_its_reason(document: dict[str, Any]) -> None:
    assert cells(tables.inference(document, 1), "VWW", "int8")[2] == "exit 9: killed"
    assert cells(tables.training(document), "LSTM")[3] == "not trained: no gradient"


def test_rows_beside_which_others_worked_are_marked(document: dict[str, Any]) -> None:
    assert "not quiet" not in page(document, Path("nowhere"), "plot.svg")
    document["inference"][0]["others_cores"] = 1.5
    assert cells(tables.inference(document, 1), "KWS †", "int8")
    assert "In 1 of 6 rows, marked †" in page(document, Path("nowhere"), "plot.svg")


def test_a_training_step_is_held_against_pytorchs_fastest_form(document: dict[str, Any]) -> None:
    row = cells(tables.training(document), "CNN", "16", "1")
    assert row[3:] == ["50.0", "200.0", "–", "100.0", "0.50", "0.50", "0.42", "50%"]


def test_every_line_of_a_table_has_as_many_cells_as_its_head(document: dict[str, Any]) -> None:
    for lines in (tables.inference(document, 1), tables.inference(document, 2), tables.training(document)):
        assert len({line.count("|") for line in lines}) == 1


def test_the_plot_is_xml_with_a_bar_a_measured_contest(document: dict[str, Any]) -> None:
    drawn = xml.fromstring(plot.chart(document))
    assert len([node for node in drawn if node.tag.endswith("rect")]) == 3


def test_only_what_stands_between_the_markers_of_the_readme_changes(document: dict[str, Any]) -> None:
    text = f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n"
    found = readme.updated(text, document)
    assert found.startswith(f"before\n{readme.BEGIN}\n")
    assert found.endswith(f"{readme.END}\nafter\n")
    assert "old" not in found
    assert readme.updated(found, document) == found
    assert "| KWS | 10.0 µs | 20.0 µs (OpenVINO) | **0.50** | – | multiplies 90% |" in found
    with pytest.raises(ValueError, match="make bench"):
        readme.updated("no markers", document)
