"""The command line as its users see it: output, JSON, exit codes, and never a traceback for bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lepton_sdk.bundle import Bundle, Quantization, generate_key
from lepton_targets import CPUS, host, targets
from lepton_targets.host import runs_here
from support import bundles
from support.in_process import Lepton


def shell(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lepton_sdk.cli.main", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def test_help_lists_own_and_foreign_commands(lepton: Lepton) -> None:
    result = lepton("--help")
    assert result.code == 0
    for name in ("targets", "keygen", "inspect", "verify", "run", "bench", "eval", "device"):
        assert f"  {name} " in result.out
    for name in ("compile", "aggregator", "fleet", "demo"):
        assert f"  {name} " in result.out
    assert "2 on wrong use, 3 on bad input, 4 on a failed check" in " ".join(result.out.split())


def test_version(lepton: Lepton) -> None:
    assert lepton("--version").out.startswith("lepton-edge 0.")


@pytest.mark.parametrize(
    "words", [["nonsense"], ["run"], ["targets", "--nonsense"], ["bench", "x", "--threads", "0"]]
)
def test_wrong_use_exits_2(lepton: Lepton, words: Sequence[str]) -> None:
    assert lepton(*words).code == 2


class TestTargets:
    def test_all(self, lepton: Lepton) -> None:
        found = lepton("targets", "--json").json
        assert found["host"] == host().name
        assert {row["name"] for row in found["targets"]} == {target.name for target in targets()}
        assert [row["name"] for row in found["targets"] if row["host"]] == [host().name]

    def test_one_as_a_table(self, lepton: Lepton) -> None:
        result = lepton("targets", "cortex-a53")
        assert "cortex-a53" in result.out
        assert "riscv64" not in result.out

    def test_operations(self, lepton: Lepton) -> None:
        found = lepton("targets", "host", "--operations", "--json").json["targets"][0]["operations"]
        assert {"Conv2d", "Dense", "Softmax"} <= set(found)
        assert lepton("targets", "pynq-z2", "--operations").code == 5
        assert lepton("targets", "--operations").code == 2

    def test_unknown_lists_near_names(self, lepton: Lepton) -> None:
        result = lepton("targets", "cortex-a54", "--json")
        assert result.code == 2
        assert "did you mean" in result.err
        assert result.json["error"]["type"] == "UsageError"


def test_keygen_then_verify(lepton: Lepton, tmp_path: Path) -> None:
    made = lepton("keygen", "-o", tmp_path / "key.pem", "--json").json
    signed = bundles.write(tmp_path / "a.lep", key=tmp_path / "key.pem")
    found = lepton("verify", signed, "--key", made["public_key"], "--self-test", "--json").json
    assert found["key_id"] == made["key_id"]
    assert found["signed_by"] == [made["key_id"]]
    assert found["digest"] == Bundle.open(signed).digest
    assert found["self_test"]["vectors"] == 1
    assert found["self_test"]["target"] == host().name
    assert lepton("keygen", "-o", tmp_path / "key.pem").code == 2


def test_inspect(lepton: Lepton, path: Path) -> None:
    found = lepton("inspect", path, "--layers", "--json").json
    assert found["name"] == "tiny"
    assert found["functions"]["infer"] == {"inputs": ["x: int8[1,10]"], "outputs": ["y: int8[1,10]"]}
    assert [row["operation"] for row in found["layers"]["infer"]] == ["Table"]
    assert found["artifacts"][0]["arena_bytes"] == {"infer": 256, "train": 0}
    shown = lepton("inspect", path, "--layers").out
    assert "Table" in shown
    assert host().name in shown
    assert "; 1 golden vector\n" in shown
    assert not [line for line in shown.splitlines() if line != line.rstrip()]


def test_disassembly_names_the_functions_or_the_tool_that_is_missing(lepton: Lepton, path: Path) -> None:
    result = lepton("inspect", path, "--disassemble")
    assert (result.code == 0 and "lepton_infer" in result.out) or (
        result.code == 5 and "objdump" in result.err
    )
    assert lepton("inspect", path, "--disassemble", "--target", "riscv64").code == 2
    assert "add  --disassemble" in lepton("inspect", path, "--target", host().name).err


def test_disassembly_of_other_machines_code_says_how_to_ask_for_it(lepton: Lepton, tmp_path: Path) -> None:
    other = bundles.write(tmp_path / "other.lep", targets=("cuda", "opencl"))
    result = lepton("inspect", other, "--disassemble", "--json")
    assert result.code == 5
    assert "--target cuda or --target opencl" in result.err
    assert "compile" not in result.err


def test_run_writes_what_the_model_gives(lepton: Lepton, path: Path, examples: Path, tmp_path: Path) -> None:
    outputs = []
    for engine in ("native", "reference"):
        output = tmp_path / f"{engine}.npz"
        found = lepton(
            "run", path, "--input", examples, "--output", output, "--engine", engine, "--json"
        ).json
        assert found["n"] == 30
        outputs.append(np.load(output)["y"])
    np.testing.assert_array_equal(outputs[0], outputs[1])
    features = np.load(examples)["features"]
    np.testing.assert_array_equal(outputs[0], bundles.TABLE[features.astype(int) + 128])
    assert "10 more" in lepton("run", path, "--input", examples).out


def test_eval(lepton: Lepton, path: Path, examples: Path) -> None:
    found = lepton("eval", path, "--data", examples, "--metrics", "accuracy,f1,top5", "--json").json
    assert found["n"] == 30
    assert found["accuracy"] == pytest.approx(0.9)
    assert 0.5 < found["f1"] < 1
    assert found["top5"] >= 0.9
    assert lepton("eval", path, "--data", examples, "--metrics", "acuracy").code == 2
    assert lepton("eval", path, "--data", examples, "--metrics", "").code == 2


def test_eval_tables(lepton: Lepton, path: Path, examples: Path) -> None:
    asked = "roc_auc,confusion_matrix,per_class,roc_curve"
    found = lepton("eval", path, "--data", examples, "--metrics", asked, "--json").json
    assert sum(map(sum, found["confusion_matrix"])) == 30
    assert len(found["per_class"]) == 10
    areas = [curve["area"] for curve in found["roc_curve"]]
    assert found["roc_auc"] == pytest.approx(np.mean(areas))
    shown = lepton("eval", path, "--data", examples, "--metrics", asked).out
    assert "1 yes" in shown
    assert "taken for" in shown
    assert "\nROC curves (corners: --json, or lepton report)\n" in shown


def test_eval_against_another_bundle(lepton: Lepton, path: Path, examples: Path, tmp_path: Path) -> None:
    other = bundles.write(tmp_path / "other.lep", targets=(host().name,))
    found = lepton("eval", path, "--data", examples, "--against", f"lepton:{other}", "--json").json["against"]
    assert found == {
        "name": "lepton",
        "accuracy": pytest.approx(0.9),
        "agreement": 1.0,
        "max_difference": 0.0,
        "bytes_equal_fraction": 1.0,
        "max_step_difference": 0,
    }
    shown = lepton("eval", path, "--data", examples, "--against", f"lepton:{other}").out
    assert "against lepton" in shown
    for wrong in ("leptn:x", "lepton:", str(other)):
        assert lepton("eval", path, "--data", examples, "--against", wrong).code == 2


def test_eval_without_labels_shows_only_figures_that_there_are(
    lepton: Lepton, path: Path, examples: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "unlabelled.npz", features=np.load(examples)["features"])
    words = ("eval", path, "--data", tmp_path / "unlabelled.npz", "--against", f"lepton:{path}")
    shown = lepton(*words).out
    assert "agreement" in shown
    assert "accuracy" not in shown
    assert "None" not in shown
    found = lepton(*words, "--json").json
    assert found["accuracy"] is found["against"]["accuracy"] is None


def test_integers_mean_the_same_real_numbers_to_the_model_compared_with(
    lepton: Lepton, path: Path, tmp_path: Path
) -> None:
    """The other bundle takes x in steps half as large."""
    finer = Quantization((0.25,), -3)
    functions = dict(bundles.manifest().functions)
    (x,) = functions["infer"].inputs
    functions["infer"] = functions["infer"].replace(inputs=(x.replace(quantization=finer),))
    other = bundles.write(tmp_path / "finer.lep", manifest_changes={"functions": functions})
    features = np.arange(-33, -3, dtype=np.int8).reshape(3, 10)
    np.savez(tmp_path / "x.npz", x=features)
    found = lepton("eval", path, "--data", tmp_path / "x.npz", "--against", f"lepton:{other}", "--json").json
    theirs = bundles.TABLE[(features.astype(int) + 3) * 2 - 3 + 128]
    steps = np.abs(theirs.astype(int) - bundles.TABLE[features.astype(int) + 128])
    assert found["against"]["max_step_difference"] == steps.max()
    assert found["against"]["max_difference"] == steps.max() * 0.5


def test_bench_has_the_contracts_keys(lepton: Lepton, path: Path) -> None:
    found = lepton("bench", path, "--seconds", "0.02", "--cold", "--json").json
    assert found["engine"] == "native"
    assert 0 < found["latency_us"]["min"] <= found["latency_us"]["median"] <= found["latency_us"]["p99"]
    assert {"against", "ratio_median", "ratio_min", "peak_fraction"} <= found.keys()
    cold = found["cold"]
    assert cold.keys() == {
        "first_inference_ms",
        "rss_mb",
        "call_overhead_us",
        "run_into_overhead_us",
        "numpy_import_ms",
        "numpy_rss_mb",
    }
    assert cold["rss_mb"] < 8
    assert min(cold["call_overhead_us"], cold["run_into_overhead_us"]) > 0
    shown = lepton("bench", path, "--seconds", "0.02", "--cold").out
    assert "a call beyond the model's own code: run " in shown
    assert ", run_into " in shown


def test_bench_measures_two_bundles_in_turns(lepton: Lepton, path: Path, tmp_path: Path) -> None:
    other = bundles.write(tmp_path / "other.lep")
    words = ("bench", path, "--against", f"lepton:{other}", "--seconds", "0.02")
    found = lepton(*words, "--json").json
    against = found["against"]
    assert (against["name"], against["file"], against["target"]) == ("lepton", str(other), host().name)
    for ratio, figure in (("ratio_min", "min"), ("ratio_median", "median")):
        expected = found["latency_us"][figure] / against["latency_us"][figure]
        assert found[ratio] == pytest.approx(expected)
    shown = lepton(*words).out
    assert f"other.lep ({host().name})" in shown
    assert f"tiny.lep ({host().name})" in shown
    assert "ratio" in shown


def test_commands_run_the_code_of_the_target_that_is_named(
    lepton: Lepton, examples: Path, tmp_path: Path
) -> None:
    plain = next(cpu.name for cpu in CPUS if runs_here(cpu))
    names = tuple(dict.fromkeys((host().name, plain, "cuda")))
    several = bundles.write(tmp_path / "several.lep", targets=names)
    commands: tuple[tuple[object, ...], ...] = (
        ("bench", several, "--seconds", "0.02"),
        ("run", several, "--input", examples),
        ("eval", several, "--data", examples),
        ("verify", several, "--self-test"),
    )
    for command in commands:
        for target in (plain, "host"):
            found = lepton(*command, "--target", target, "--json").json
            assert found.get("target", found.get("self_test", {}).get("target")) == (
                host().name if target == "host" else plain
            )
        assert "does not run the code for cuda" in lepton(*command, "--target", "cuda").err
        missing = lepton(*command, "--target", "opencl")
        assert missing.code == 2
        assert f"it has: {', '.join(names)}" in missing.err
        assert "this CPU is a" in missing.err
    reference = lepton("run", several, "--input", examples, "--engine", "reference", "--target", plain)
    assert reference.code == 2
    assert "can't be chosen" in reference.err
    assert lepton("verify", several, "--target", plain).code == 2


def test_bench_refuses_what_it_does_not_know(lepton: Lepton, path: Path) -> None:
    assert lepton("bench", path, "--against", "litertt:x").code == 2
    assert lepton("bench", path, "--against", "onnxruntime:x").code == 3
    assert lepton("bench", path, "--engine", "qemuu").code == 2


class TestBadInput:
    """Each broken thing, through each command that meets it: its exit code, its error as JSON."""

    @pytest.mark.parametrize("command", ["inspect", "verify", "bench"])
    @pytest.mark.parametrize(
        ("content", "error", "code"),
        [
            (b"", "BundleFormatError", 3),
            (b"no bundle at all", "BundleFormatError", 3),
            ("truncated", "BundleFormatError", 3),
            ("flipped", "BundleFormatError", 3),
            ("newer", "NewerFormatError", 3),
            (None, "BadInputError", 3),
        ],
    )
    def test_bundles(
        self, lepton: Lepton, path: Path, tmp_path: Path, command: str, content: object, error: str, code: int
    ) -> None:
        whole = bytearray(path.read_bytes())
        if content == "truncated":
            content = bytes(whole[: len(whole) // 2])
        elif content == "flipped":
            whole[Bundle.open(path).manifest.segments[0].offset + 5] ^= 4
            content = bytes(whole)
        elif content == "newer":
            whole[8] = 9
            content = bytes(whole)
        bad = tmp_path / "bad.lep"
        if content is not None:
            bad.write_bytes(content)  # type: ignore[arg-type]
        result = lepton(command, bad, "--json")
        assert result.code == code
        assert result.err.startswith("lepton: ")
        assert "bad.lep" in result.err
        assert result.json["error"]["type"] == error

    def test_models_in_a_bundles_place_and_bundles_in_a_models(
        self, lepton: Lepton, path: Path, examples: Path, tmp_path: Path
    ) -> None:
        model = tmp_path / "net.tflite"
        model.write_bytes(b"\x1c\0\0\0TFL3" + bytes(64))
        result = lepton("run", model, "--input", examples)
        assert result.code == 3
        assert "this is a TFLite model" in result.err
        assert "--engine litert" in result.err
        pytest.importorskip("ai_edge_litert.interpreter")
        swapped = lepton("run", path, "--input", examples, "--engine", "litert")
        assert swapped.code == 2
        assert "is a bundle" in swapped.err

    def test_data_that_the_other_model_does_not_take_names_it(
        self, lepton: Lepton, path: Path, examples: Path, tmp_path: Path
    ) -> None:
        functions = dict(bundles.manifest().functions)
        (x,), (y,) = functions["infer"].inputs, functions["infer"].outputs
        shapes = {"inputs": (x.replace(shape=(2, 5)),), "outputs": (y.replace(shape=(2, 5)),)}
        functions["infer"] = functions["infer"].replace(**shapes)
        other = bundles.write(tmp_path / "other.lep", manifest_changes={"functions": functions})
        result = lepton("eval", path, "--data", examples, "--against", f"lepton:{other}")
        assert result.code == 3
        assert result.err.startswith(f"lepton: {other}: ")

    def test_signatures(self, lepton: Lepton, path: Path, examples: Path, tmp_path: Path) -> None:
        public, _ = generate_key(tmp_path / "key.pem")
        generate_key(tmp_path / "stranger.pem")
        strange = bundles.write(tmp_path / "strange.lep", key=tmp_path / "stranger.pem")
        for bundle in (path, strange):
            result = lepton("verify", bundle, "--key", public, "--json")
            assert result.code == 4
            assert result.json["error"]["type"] == "SignatureError"
            assert result.err.startswith(f"lepton: {bundle}: ")
            assert lepton("bench", bundle, "--key", public).code == 4
            assert lepton("eval", bundle, "--data", examples, "--key", public).code == 4
        trusted = bundles.write(tmp_path / "trusted.lep", key=tmp_path / "key.pem")
        words = ("eval", trusted, "--data", examples, "--key", public)
        assert lepton(*words, "--against", f"lepton:{trusted}").code == 0
        assert str(path) in lepton(*words, "--against", f"lepton:{path}").err

    def test_self_test(self, lepton: Lepton, tmp_path: Path) -> None:
        golden = bytes(len(bundles.segments()["golden"]))
        bad = bundles.write(tmp_path / "bad.lep", segment_changes={"golden": golden})
        result = lepton("verify", bad, "--self-test", "--json")
        assert result.code == 4
        assert result.json["error"]["type"] == "SelfTestError"
        assert lepton("verify", bad, "--json").code == 0

    def test_wrong_target(self, lepton: Lepton, tmp_path: Path, examples: Path) -> None:
        other = bundles.write(tmp_path / "other.lep", targets=("cuda",))
        result = lepton("run", other, "--input", examples, "--json")
        assert result.code == 5
        assert "it has: cuda" in result.err
        assert lepton("run", other, "--input", examples, "--engine", "reference").code == 0

    def test_data(self, lepton: Lepton, path: Path, examples: Path, tmp_path: Path) -> None:
        wrong = {
            "nan": {"features": np.full((2, 10), np.nan), "labels": np.zeros(2, int)},
            "shape": {"features": np.zeros((2, 9), np.int8), "labels": np.zeros(2, int)},
            "dtype": {"features": np.zeros((2, 10), np.int32), "labels": np.zeros(2, int)},
            "unlabelled": {"features": np.zeros((2, 10), np.int8)},
            "nothing": {"labels": np.zeros(2, int)},
        }
        for name, arrays in wrong.items():
            np.savez(tmp_path / f"{name}.npz", **arrays)
            result = lepton("eval", path, "--data", tmp_path / f"{name}.npz", "--json")
            assert result.code == 3, name
            assert result.json["error"]["type"] == "BadInputError"
            if name not in ("unlabelled",):
                assert lepton("run", path, "--input", tmp_path / f"{name}.npz").code == 3, name
        assert lepton("eval", path, "--data", tmp_path / "absent.npz").code == 3

    def test_labels_that_the_model_does_not_know(
        self, lepton: Lepton, path: Path, examples: Path, tmp_path: Path
    ) -> None:
        arrays = dict(np.load(examples))
        arrays["labels"][7] = 10
        np.savez(tmp_path / "outside.npz", **arrays)
        result = lepton("eval", path, "--data", tmp_path / "outside.npz", "--json")
        assert result.code == 3
        assert "the class 10 in example 7; the model has the classes 0 to 9" in result.err

    def test_output_that_cannot_be_written(self, lepton: Lepton, path: Path, examples: Path) -> None:
        result = lepton("run", path, "--input", examples, "--output", "/proc/none/x.npz")
        assert result.code == 3
        assert "the folder /proc/none does not exist" in result.err


class TestMissingExtra:
    def test_names_the_extra_and_what_is_missing(
        self, lepton: Lepton, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from lepton_sdk.cli import extensions

        monkeypatch.setattr(extensions, "_is_installed", lambda name: name != "apache-tvm")
        result = lepton("compile", "model.onnx", "-o", "out.lep", "--json")
        assert result.code == 5
        assert result.json["error"]["type"] == "MissingExtraError"
        assert "lepton-edge[compile]" in result.err
        assert "apache-tvm is missing" in result.err
        listed = lepton("--help")
        assert listed.code == 0
        assert "needs the extra 'compile'" in listed.out

    def test_requirements_of_all_follow_its_parts(self) -> None:
        from lepton_sdk.cli.extensions import _requirements

        assert {"apache-tvm", "amqtt", "ai-edge-litert"} <= set(_requirements("all", set()))
        assert "pytest" not in set(_requirements("all", set()))
        assert set(_requirements("unknown", set())) == set()

    def test_litert(self, lepton: Lepton, path: Path, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
        result = lepton("bench", path, "--against", "litert:x.tflite", "--json")
        assert result.code == 5
        assert result.json["error"]["type"] == "MissingExtraError"


class TestProcess:
    def test_interrupt_exits_130(self, path: Path) -> None:
        script = (
            "import os, signal, threading; from lepton_sdk.cli.main import main;"
            "threading.Timer(3.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start();"
            f"main(['bench', {str(path)!r}, '--seconds', '20'])"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
        assert done.returncode == 130
        assert "Traceback" not in done.stderr
        # What was measured by then is shown all the same.
        assert f"native ({host().name})" in done.stdout
        assert "of 20 s; what was measured until then counts" in done.stderr

    def test_first_inference_loads_nothing_heavy(self, path: Path) -> None:
        script = (
            "import sys, numpy as np; before = set(sys.modules);"
            "from lepton_sdk.session import Session;"
            f"Session({str(path)!r}).run(np.zeros((1, 10), np.int8));"
            "print(*sorted(set(sys.modules) - before))"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        loaded = {name.split(".")[0] for name in done.stdout.split()}
        heavy = {"cryptography", "rich", "typer", "hashlib", "dataclasses", "pathlib", "tempfile", "difflib"}
        assert not loaded & heavy
        assert "lepton_sdk.program" not in done.stdout.split()

    def test_json_is_all_that_stdout_holds(self, path: Path) -> None:
        done = shell("verify", path, "--json")
        assert json.loads(done.stdout)["bundle"] == "tiny.lep"
        assert done.returncode == 0
