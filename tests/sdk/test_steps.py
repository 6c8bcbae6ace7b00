"""What a bundle says of its code's steps: written, read, and refused where it makes no sense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lepton_sdk import steps
from lepton_sdk.bundle import Bundle
from lepton_sdk.steps import Step
from lepton_targets import host
from lepton_targets.errors import BundleFormatError, UnavailableError
from support import bundles

STEPS = (Step(("pack",), (), "x", "blocks"), Step(("table", "table_rest"), (0,), parts=8))
SEGMENT = f"steps.{host().name}"


def bundle(path: Path, content: bytes) -> Bundle:
    return Bundle.open(bundles.write(path, segment_changes={SEGMENT: content}))


def test_they_are_read_as_they_were_written(tmp_path: Path) -> None:
    written = bundle(tmp_path / "a.lep", steps.dump({"infer": STEPS, "train": ()}))
    assert steps.of_bundle(written, host().name, "infer") == STEPS
    assert steps.of_bundle(written, host().name, "train") == ()


def test_a_bundle_of_an_older_compiler_says_to_compile_again(tmp_path: Path) -> None:
    old = Bundle.open(bundles.write(tmp_path / "a.lep"))
    with pytest.raises(UnavailableError, match="compile the model again"):
        steps.of_bundle(old, host().name, "infer")


@pytest.mark.parametrize(
    "change",
    [
        {"kernels": []},
        {"kernels": "pack"},
        {"kernels": ["pack()"]},
        {"operations": [1]},
        {"operations": [-1]},
        {"operations": [True]},
        {"operations": None},
        {"parts": 0},
        {"parts": 1.5},
        {"converts": 7},
        {"into": "\n"},
    ],
)
def test_a_senseless_step_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    document = json.loads(steps.dump({"infer": STEPS}))
    document["infer"][0].update(change)
    with pytest.raises(BundleFormatError, match="step 0"):
        steps.of_bundle(bundle(tmp_path / "a.lep", json.dumps(document).encode()), host().name, "infer")


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"infer": 3}', b'{"infer": [3]}', b"{", b"\xff"])
def test_a_senseless_list_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BundleFormatError):
        steps.of_bundle(bundle(tmp_path / "a.lep", content), host().name, "infer")


def test_a_thin_bundle_keeps_those_of_its_target_alone(tmp_path: Path) -> None:
    from lepton_sdk.bundle.writer import thin

    targets = (host().name, "armv7" if host().name != "armv7" else "aarch64")
    listed = {f"steps.{name}": steps.dump({"infer": STEPS}) for name in targets}
    full = Bundle.open(bundles.write(tmp_path / "a.lep", targets=targets, segment_changes=listed))
    less = Bundle(memoryview(thin(full, host().name)))
    assert steps.of_bundle(less, host().name, "infer") == STEPS
    with pytest.raises(UnavailableError, match="thin bundle"):
        steps.of_bundle(less, targets[1], "infer")
