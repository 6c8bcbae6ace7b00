"""The whole way through the command: model file in, bundle out, the same bytes every time."""

import numpy as np
import pytest

from lepton_fleet.demo.network import small_cnn
from lepton_sdk import Session, Trainer
from support.command_line import lepton
from support.evaluation_data import committed_kws

KWS_MODEL, KWS_SAMPLES, _ = committed_kws()


@pytest.fixture(scope="module")
def digits_model(tmp_path_factory):
    import onnx

    path = tmp_path_factory.mktemp("model") / "digits.onnx"
    onnx.save(small_cnn(), path)
    return path


def test_two_processes_in_two_folders_write_the_same_bytes(tmp_path, digits_model):
    calibration = tmp_path / "samples.npz"
    np.savez(calibration, image=np.random.default_rng(0).random((8, 1, 8, 8), np.float32))
    cases = {
        "int8": (KWS_MODEL, "--target", "x86-64,x86-64-avx512vnni"),
        "trainable": (digits_model, "--target", "x86-64", "--trainable", "all"),
        "quantised": (digits_model, "--target", "x86-64", "--quantize", "int8", "--calibration", calibration),
    }
    for name, (model, *options) in cases.items():
        contents = []
        for folder in ("first", "second"):
            (tmp_path / folder).mkdir(exist_ok=True)
            out = tmp_path / folder / f"{name}.lep"
            lepton("compile", model, *options, "-o", out, cwd=tmp_path / folder)
            contents.append(out.read_bytes())
        assert contents[0] == contents[1], name


def test_a_bundle_carries_proofs_that_its_sessions_pass(tmp_path):
    out = tmp_path / "kws.lep"
    summary = lepton("compile", KWS_MODEL, "-o", out, "--json").json
    assert summary["kind"] == "int8"
    assert summary["macs"] > 2_000_000
    for engine in ("native", "reference"):
        Session(out, engine=engine).self_test()
    native, reference = Session(out), Session(out, engine="reference")
    for x in KWS_SAMPLES[:8]:
        (ours,), (defined,) = native.run(x[None]).values(), reference.run(x[None]).values()
        np.testing.assert_array_equal(ours, defined)


def test_trained_weights_come_back_through_weights(tmp_path, digits_model):
    trainable, again = tmp_path / "train.lep", tmp_path / "again.lep"
    lepton("compile", digits_model, "--trainable", "all", "-o", trainable)
    trainer = Trainer(trainable)
    random = np.random.default_rng(1)
    features = random.random((64, 1, 8, 8), np.float32)
    labels = random.integers(0, 10, 64).astype(np.int32)
    trainer.fit(features, labels, epochs=1, learning_rate=0.05, momentum=0.9, seed=0)
    assert trainer.parameters()["conv2.weight"].shape == (16, 8, 3, 3)
    trainer.save_weights(tmp_path / "weights.safetensors")
    lepton("compile", digits_model, "--weights", tmp_path / "weights.safetensors", "-o", again)
    (after,) = Session(again).run(features[:1]).values()
    (before,) = Session(trainable).run(features[:1]).values()
    trainer_probabilities = trainer.predict(features[:1])
    np.testing.assert_allclose(after, trainer_probabilities, atol=1e-5)
    assert np.abs(after - before).max() > 1e-3


def test_a_dry_run_shows_program_and_plan_and_writes_nothing(tmp_path):
    text = lepton("compile", KWS_MODEL, "--target", "x86-64", "--dry-run", "--explain", cwd=tmp_path).out
    assert "DepthwiseConv2d" in text
    assert "x86-64: " in text
    assert "softmax_int8(" in text
    (estimate,) = lepton("compile", KWS_MODEL, "--target", "x86-64", "--dry-run", "--json").json["estimates"]
    assert estimate["macs"]["infer"] == 2_656_768
    assert estimate["arena_bytes"]["infer"] >= 16_000
    assert list(tmp_path.iterdir()) == []
    refused = lepton("compile", KWS_MODEL, check=False)
    assert refused.code == 2
    assert "-o MODEL.lep" in refused.err


def test_an_int8_model_is_not_trainable(tmp_path):
    refused = lepton("compile", KWS_MODEL, "--trainable", "all", "-o", tmp_path / "x.lep", check=False)
    assert refused.code == 3
    assert "train its float source" in refused.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--target", "cortex-a73"), 2, "did you mean"),
        (("--target", "cuda"), 5, "not available in this version"),
        (("--quantize", "int4"), 2, "accepted: none, int8"),
        (
            ("--trainable", "all", "--quantize", "int8", "--calibration", "SAMPLES"),
            2,
            "two bundles of the one model",
        ),
        (("--trainable", "conv9.weight"), 2, "no parameter 'conv9.weight'; did you mean"),
        (("--quantize", "int8"), 2, "needs samples"),
        (("--quantize", "int8", "--calibration", "MODEL"), 3, "not an .npz"),
        (("--quantize", "int8", "--calibration", "NAN"), 3, "NaN"),
        (("--quantize", "int8", "--calibration", "EMPTY"), 3, "calibration"),
        (("--weights", "MODEL"), 3, "as safetensors"),
        (("--shape", "image"), 2, "accepted: NAME=1,3,224,224"),
    ],
)
def test_what_cannot_be_compiled_is_told(tmp_path, digits_model, arguments, code, words):
    good = np.zeros((4, 1, 8, 8), np.float32)
    np.savez(tmp_path / "samples.npz", image=good)
    np.savez(tmp_path / "nan.npz", image=np.where(np.arange(64).reshape(8, 8) == 9, np.nan, good))
    np.savez(tmp_path / "empty.npz", image=good[:0])
    names = {"SAMPLES": "samples.npz", "NAN": "nan.npz", "EMPTY": "empty.npz"}
    files = {key: tmp_path / name for key, name in names.items()} | {"MODEL": digits_model}
    out = tmp_path / "out.lep"
    result = lepton("compile", digits_model, "-o", out, *(files.get(a, a) for a in arguments), check=False)
    assert result.code == code, result.err
    assert words in result.err
    assert "Traceback" not in result.err
    assert not out.exists()


def test_a_truncated_model_is_bad_input(tmp_path, digits_model):
    for model in (KWS_MODEL, digits_model):
        short = tmp_path / f"short{model.suffix}"
        short.write_bytes(model.read_bytes()[: model.stat().st_size // 2])
        result = lepton("compile", short, "-o", tmp_path / "out.lep", check=False)
        assert result.code == 3, result.err
        assert result.err.startswith("lepton: ")
    assert not (tmp_path / "out.lep").exists()
