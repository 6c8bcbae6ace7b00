"""A bundle learns handwritten digits on the device; what it can't learn from, it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from lepton_compilers.compilation import compile
from lepton_fleet.demo.digits import Examples, load_digits
from lepton_fleet.demo.network import small_cnn
from lepton_sdk import Session, Trainer
from lepton_sdk.trainer import Epoch
from lepton_targets.errors import BadInputError, CheckFailedError, UsageError
from support.onnx_networks import plain_cnn


@pytest.fixture(scope="module")
def digits() -> tuple[Examples, Examples]:
    cut = load_digits(1)
    return cut.devices[0], cut.test


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "digits.onnx"
    onnx.save(small_cnn(), path)
    return path


@pytest.fixture(scope="module")
def bundle(model: Path) -> Path:
    return Path(compile(model, "host", trainable="all", output=model.with_suffix(".lep")).path)


@pytest.fixture(scope="module")
def head(model: Path) -> Path:
    return Path(compile(model, "host", trainable="head", batch=8, output=model.with_name("head.lep")).path)


def test_it_learns_the_digits(bundle: Path, digits: tuple[Examples, Examples]) -> None:
    train, test = digits
    trainer = Trainer(bundle)
    before = trainer.evaluate(test.features, test.labels)
    seen: list[Epoch] = []
    history = trainer.fit(
        train.features, train.labels, epochs=6, learning_rate=0.02, seed=1, on_epoch=seen.append
    )
    after = trainer.evaluate(test.features, test.labels)
    assert before.accuracy < 0.4
    assert after.accuracy > 0.93
    assert after.loss < before.loss
    assert after.n == len(test)
    assert history.losses == tuple(epoch.loss for epoch in seen)
    assert [epoch.number for epoch in seen] == [1, 2, 3, 4, 5, 6]
    assert history.steps == 6 * -(-len(train) // trainer.batch_size)
    agreed = trainer.predict(test.features).argmax(axis=1) == test.labels
    assert float(agreed.mean()) == pytest.approx(after.accuracy)


def test_native_and_reference_go_the_same_way(bundle: Path, digits: tuple[Examples, Examples]) -> None:
    train, test = digits
    native, reference = Trainer(bundle), Trainer(bundle, engine="reference")
    size = native.batch_size
    for step in range(20):
        rows = slice(step * size, (step + 1) * size)
        losses = [t.step(train.features[rows], train.labels[rows], 0.02, 0.9) for t in (native, reference)]
        assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    expected = reference.parameters()
    for name, value in native.parameters().items():
        np.testing.assert_allclose(value, expected[name], atol=1e-4, err_msg=name)
    ours, defined = (t.evaluate(test.features[:50], test.labels[:50]) for t in (native, reference))
    assert ours.loss == pytest.approx(defined.loss, abs=1e-4)
    assert ours.n == 50


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not(
    bundle: Path, digits: tuple[Examples, Examples]
) -> None:
    train, _ = digits

    def trained(seed: int) -> dict[str, np.ndarray]:
        trainer = Trainer(bundle)
        trainer.fit(train.features[:100], train.labels[:100], epochs=2, learning_rate=0.02, seed=seed)
        return trainer.parameters()

    first, again, other = trained(5), trained(5), trained(6)
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
    assert any((value != other[name]).any() for name, value in first.items())


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_no_bit_of_what_is_learned(
    bundle: Path, digits: tuple[Examples, Examples], threads: int
) -> None:
    train, _ = digits
    one, several = Trainer(bundle), Trainer(bundle, threads=threads)
    assert several.session.threads == threads
    for trainer in (one, several):
        trainer.fit(train.features, train.labels, epochs=1, learning_rate=0.05)
    for name, value in one.parameters().items():
        assert several.parameters()[name].tobytes() == value.tobytes(), name


def test_a_short_batch_counts_only_its_own_rows(bundle: Path, digits: tuple[Examples, Examples]) -> None:
    train, _ = digits
    features, labels = train.features[:5], train.labels[:5]
    short, whole = Trainer(bundle), Trainer(bundle)
    # Fifteen rows that hold five examples three times have the same mean.
    loss = short.step(features, labels, 0.1)
    assert loss == pytest.approx(whole.evaluate(features, labels).loss, rel=1e-6)
    repeated = np.tile(np.arange(5), 3)
    assert loss == pytest.approx(whole.step(features[repeated], labels[repeated], 0.1), rel=1e-5)
    expected = whole.parameters()
    for name, value in short.parameters().items():
        np.testing.assert_allclose(value, expected[name], atol=1e-5, err_msg=name)


def test_parameters_have_the_source_models_names_and_shapes(bundle: Path, model: Path) -> None:
    import onnx
    from onnx import numpy_helper

    source = {p.name: numpy_helper.to_array(p) for p in onnx.load(model).graph.initializer}
    found = Trainer(bundle).parameters()
    assert found.keys() == source.keys()
    for name, value in source.items():
        np.testing.assert_array_equal(found[name], value)


def test_loading_starts_the_momentum_anew(bundle: Path, digits: tuple[Examples, Examples]) -> None:
    train, _ = digits
    batch = train.features[:16], train.labels[:16]
    trainer, fresh = Trainer(bundle), Trainer(bundle)
    start = trainer.parameters()
    trainer.step(*batch, 0.05, 0.9)
    trainer.load_parameters(start)
    trainer.step(*batch, 0.05, 0.9)
    fresh.step(*batch, 0.05, 0.9)
    expected = fresh.parameters()
    for name, value in trainer.parameters().items():
        np.testing.assert_array_equal(value, expected[name])


def test_depthwise_weights_have_the_source_models_shape(tmp_path: Path) -> None:
    model = tmp_path / "depthwise.onnx"
    model.write_bytes(plain_cnn())
    compile(model, "host", output=tmp_path / "trainable.lep", trainable="all", batch=4)
    trainer = Trainer(tmp_path / "trainable.lep")
    initializers = onnx.load_from_string(plain_cnn()).graph.initializer
    source = {weight.name: onnx.numpy_helper.to_array(weight) for weight in initializers}
    parameters = trainer.parameters()
    assert parameters["dw.weight"].shape[1] == 1
    for name, value in parameters.items():
        np.testing.assert_array_equal(value, source[name])
    trainer.load_parameters({name: value + 1 for name, value in parameters.items()})
    np.testing.assert_array_equal(trainer.parameters()["dw.weight"], source["dw.weight"] + 1)


def test_momentum_is_kept_only_when_asked(bundle: Path, digits: tuple[Examples, Examples]) -> None:
    train, _ = digits
    data = train.features[:32], train.labels[:32]

    def twice(keep: bool) -> float:
        trainer = Trainer(bundle)
        for seed in (1, 2):
            trainer.fit(*data, epochs=1, learning_rate=0.02, seed=seed, keep_momentum=keep)
        return float(trainer.parameters()["dense2.bias"][0])

    assert twice(True) != twice(False)


def test_weights_survive_the_file(tmp_path: Path, bundle: Path, digits: tuple[Examples, Examples]) -> None:
    train, _ = digits
    trainer, other = Trainer(bundle), Trainer(bundle)
    trainer.fit(train.features[:64], train.labels[:64], epochs=1, learning_rate=0.02)
    path = trainer.save_weights(tmp_path / "weights.safetensors")
    content = path.read_bytes()
    other.load_weights(path)
    assert other.save_weights(tmp_path / "again.safetensors").read_bytes() == content
    expected = trainer.parameters()
    for name, value in other.parameters().items():
        np.testing.assert_array_equal(value, expected[name])


def test_the_head_alone_is_trained(head: Path, digits: tuple[Examples, Examples]) -> None:
    train, _ = digits
    trainer = Trainer(head)
    assert trainer.parameters().keys() == {"dense2.weight", "dense2.bias"}
    assert trainer.batch_size == 8
    history = trainer.fit(train.features[:200], train.labels[:200], epochs=5, learning_rate=0.02)
    assert history.losses[-1] < history.losses[0]


def test_examples_that_cannot_be_learned_from_are_told(bundle: Path) -> None:
    trainer = Trainer(bundle)
    features, labels = np.zeros((4, 1, 8, 8), np.float32), np.arange(4)
    before = trainer.parameters()
    nan = features.copy()
    nan[2, 0, 1, 1] = np.nan
    for given, wanted, words in (
        (features[:, 0], labels, r"shape \(4, 8, 8\); 'image\.b16' takes \[n, 1, 8, 8\]"),
        (features[:0], labels[:0], "no examples"),
        (features.astype(np.uint8), labels, "uint8"),
        (nan, labels, "NaN or infinity, first in example 2"),
        (features, labels[:3], r"labels have shape \(3,\) for 4 examples"),
        (features, labels.astype(np.float32), "labels are float32"),
        (features, labels + 7, "label 10 of example 3 is outside 0 … 9"),
        (features, labels - 1, "label -1 of example 0"),
    ):
        with pytest.raises(BadInputError, match=words):
            trainer.fit(given, wanted, epochs=1, learning_rate=0.1)
    with pytest.raises(BadInputError, match="17 examples for one step"):
        trainer.step(np.zeros((17, 1, 8, 8), np.float32), np.zeros(17, int), 0.1)
    for rates in ({"learning_rate": 0.0}, {"learning_rate": float("nan")}):
        with pytest.raises(UsageError, match="learning_rate"):
            trainer.fit(features, labels, epochs=1, **rates)
    with pytest.raises(UsageError, match="momentum is 1"):
        trainer.fit(features, labels, epochs=1, learning_rate=0.1, momentum=1.0)
    for counts, words in (
        ({"epochs": 0}, "epochs is 0"),
        ({"epochs": 1.5}, "epochs is 1.5; a whole number"),
        ({"epochs": 1, "seed": -1}, "seed is -1; a whole number"),
        ({"epochs": 1, "seed": None}, "seed is None"),
    ):
        with pytest.raises(UsageError, match=words):
            trainer.fit(features, labels, learning_rate=0.1, **counts)
    for name, value in trainer.parameters().items():
        np.testing.assert_array_equal(value, before[name])


def test_parameters_that_do_not_fit_change_nothing(bundle: Path, tmp_path: Path) -> None:
    trainer = Trainer(bundle)
    before = trainer.parameters()
    good = {name: value + 1 for name, value in before.items()}
    without = {name: value for name, value in good.items() if name != "conv1.bias"}
    for given, words in (
        (without, "1 of 8 parameters are missing: conv1.bias"),
        (good | {"conv1.biass": good["conv1.bias"]}, "no trainable parameter 'conv1.biass'; did you mean"),
        (good | {"conv1.weight": good["conv1.weight"][0]}, r"shape \(1, 3, 3\); expected \(8, 1, 3, 3\)"),
        (good | {"dense2.bias": np.full(10, np.nan, np.float32)}, "'dense2.bias' holds NaN"),
        (good | {"dense2.bias": np.zeros(10, np.int64)}, "'dense2.bias' is int64"),
    ):
        with pytest.raises(BadInputError, match=words):
            trainer.load_parameters(given)
    (tmp_path / "no.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(BadInputError, match="can't be read as safetensors"):
        trainer.load_weights(tmp_path / "no.safetensors")
    with pytest.raises(BadInputError, match="cannot read the weights"):
        trainer.load_weights(tmp_path / "absent.safetensors")
    for name, value in trainer.parameters().items():
        np.testing.assert_array_equal(value, before[name])


def test_divergence_is_not_hidden(bundle: Path, digits: tuple[Examples, Examples]) -> None:
    train, _ = digits
    with pytest.raises(CheckFailedError, match="training diverged"):
        Trainer(bundle).fit(train.features, train.labels, epochs=8, learning_rate=1e6)


def test_a_bundle_without_training_says_how_to_get_it(model: Path) -> None:
    plain = compile(model, "host", output=model.with_name("plain.lep"))
    with pytest.raises(UsageError, match="can't be trained") as caught:
        Trainer(plain)
    assert "--trainable" in str(caught.value)


def test_infer_uses_what_was_learned(bundle: Path, digits: tuple[Examples, Examples]) -> None:
    train, _ = digits
    trainer, untouched = Trainer(bundle), Session(bundle)
    (before,) = untouched.run(train.features[:1]).values()
    np.testing.assert_allclose(trainer.predict(train.features[:1]), before)
    trainer.fit(train.features[:64], train.labels[:64], epochs=2, learning_rate=0.02)
    assert np.abs(trainer.predict(train.features[:1]) - before).max() > 1e-2
    (again,) = untouched.run(train.features[:1]).values()
    np.testing.assert_array_equal(again, before)
