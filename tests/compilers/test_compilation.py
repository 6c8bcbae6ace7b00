"""The whole way through the command: model file in, bundle out, the same bytes every time."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lepton_compilers import compile
from lepton_fleet.demo.network import small_cnn
from lepton_sdk import Session, Trainer
from lepton_targets.errors import BadInputError, UsageError
from support.command_line import lepton
from support.evaluation_data import committed_kws

KWS_MODEL, KWS_SAMPLES, _ = committed_kws()


@pytest.fixture(scope="module")
def digits_model(tmp_path_factory):
    import onnx

    path = tmp_path_factory.mktemp("model") / "digits.onnx"
    onnx.save(small_cnn(), path)
    return path


def test_the_public_function_is_no_module_whatever_was_imported_before():
    import lepton_compilers.compilation

    assert lepton_compilers.compile is lepton_compilers.compilation.compile


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


def test_calls_from_several_threads_take_turns(tmp_path):
    compile(KWS_MODEL, "host", output=tmp_path / "kws.lep")
    session, inputs = Session(tmp_path / "kws.lep"), [x[None] for x in KWS_SAMPLES[:8]]
    (name,) = (spec.name for spec in session.outputs)
    expected = [session.run(x)[name] for x in inputs]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: session.run(inputs[n % 8])[name], range(400)))
    for n, scores in enumerate(found):
        np.testing.assert_array_equal(scores, expected[n % 8])


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
        (("--calibration", "SAMPLES"), 2, "add  --quantize int8"),
        (("--quantize", "int8", "--calibration", "ARRAY"), 3, "numpy.savez"),
        (("--labels", "NAMES"), 3, "there are 3 labels, and the model's output"),
        (("--sign", "SAMPLES"), 3, "is no unencrypted PKCS8 PEM private key"),
        (("--sign", "ABSENT"), 3, "cannot read the key"),
        (("--target", "nope"), 2, "unknown target 'nope'\n"),
    ],
)
def test_what_cannot_be_compiled_is_told(tmp_path, digits_model, arguments, code, words):
    good = np.zeros((4, 1, 8, 8), np.float32)
    np.savez(tmp_path / "samples.npz", image=good)
    np.savez(tmp_path / "nan.npz", image=np.where(np.arange(64).reshape(8, 8) == 9, np.nan, good))
    np.savez(tmp_path / "empty.npz", image=good[:0])
    np.save(tmp_path / "array.npy", good)
    (tmp_path / "names.txt").write_text("none\none\ntwo\n")
    names = {"SAMPLES": "samples.npz", "NAN": "nan.npz", "EMPTY": "empty.npz", "ARRAY": "array.npy"}
    names |= {"NAMES": "names.txt", "ABSENT": "absent.pem"}
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


def test_nothing_that_is_read_is_written_over(tmp_path, digits_model):
    model = tmp_path / "model.onnx"
    model.write_bytes(digits_model.read_bytes())
    samples, names, key = tmp_path / "samples.npz", tmp_path / "names.txt", tmp_path / "key.pem"
    np.savez(samples, image=np.zeros((4, 1, 8, 8), np.float32))
    names.write_text("\n".join("0123456789"))
    lepton("keygen", "-o", key)
    (tmp_path / "link.onnx").symlink_to(model)
    files = (model, tmp_path / "link.onnx", samples, names, key)
    before = [file.read_bytes() for file in files]
    options = ("--quantize", "int8", "--calibration", samples, "--labels", names, "--sign", key)
    for file in files:
        result = lepton("compile", model, *options, "-o", file, check=False)
        assert result.code == 2
        assert "which is read here" in result.err
    assert [file.read_bytes() for file in files] == before


def test_outputs_that_cannot_be_written_are_told_before_the_work(tmp_path, digits_model):
    for output in (tmp_path, tmp_path / "no" / "such" / "x.lep", digits_model / "x.lep"):
        result = lepton("compile", digits_model, "--json", "-o", output, check=False)
        assert result.code == 3
        assert f"cannot write {output}: " in result.json["error"]["message"]
        with pytest.raises(BadInputError, match="cannot write"):
            compile(digits_model, output=output)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="which is read here"):
        compile(digits_model, output=digits_model)


def test_an_int8_model_takes_samples_in_either_numbers(tmp_path):
    """Its golden vectors come from them, by the input's own scale where they are real numbers."""
    quantization = Session(KWS_MODEL, engine="litert").inputs[0].quantization
    (scale,), zero_point = quantization.scales, quantization.zero_point
    real = (KWS_SAMPLES[:8].astype(np.float32) - zero_point) * np.float32(scale)
    numbers = {
        "real": {"features": real},
        "integers": {"features": KWS_SAMPLES[:8]},
        "stated": {"features": KWS_SAMPLES[:8], "features_scale": scale, "features_zero_point": zero_point},
    }
    contents = set()
    for name, arrays in numbers.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
        out = tmp_path / name / "kws.lep"
        out.parent.mkdir()
        lepton("compile", KWS_MODEL, "--calibration", tmp_path / f"{name}.npz", "-o", out)
        contents.add(out.read_bytes())
    assert len(contents) == 1


def test_targets_may_stand_apart_and_labels_name_the_outputs(tmp_path, digits_model):
    names, out = tmp_path / "names.txt", tmp_path / "out.lep"
    names.write_text("\n".join("0123456789"))
    options = ("--target", " x86-64, x86-64-avx2 ,", "--labels", names)
    summary = lepton("compile", digits_model, *options, "-o", out, "--json").json
    assert [artifact["target"] for artifact in summary["artifacts"]] == ["x86-64", "x86-64-avx2"]
    assert Session(out).labels == tuple("0123456789")


def test_a_bundle_that_is_written_is_success_though_nobody_reads(tmp_path, digits_model):
    out = tmp_path / "out.lep"
    command = [sys.executable, "-m", "lepton_sdk.cli.main", "compile", digits_model, "-o", out, "--explain"]
    receiving, sending = os.pipe()
    os.close(receiving)
    done = subprocess.run(command, stdout=sending, stderr=subprocess.PIPE, text=True)
    os.close(sending)
    assert (done.returncode, done.stderr) == (0, "")
    assert Session(out).self_test().vectors > 0


def test_targets_share_segments_of_equal_bytes_and_thin_bundles_keep_theirs(tmp_path):
    from lepton_sdk.bundle import Bundle, thin

    bundle = compile(KWS_MODEL, ("cortex-a53", "cortex-a72", "x86-64"), output=tmp_path / "kws.lep")
    a53, a72, x86 = bundle.manifest.artifacts
    assert a53.weights == a72.weights == "weights.cortex-a53"
    assert a53.code != a72.code
    assert x86.weights == "weights.x86-64"
    small = Bundle(memoryview(thin(bundle, "cortex-a72")))
    assert bytes(small.segment(a72.weights)) == bytes(bundle.segment(a53.weights))
