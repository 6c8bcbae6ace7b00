"""PyTorch networks → Programs, and bundles, that compute what PyTorch computes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

from lepton_compilers import compile
from lepton_compilers.front import program_from
from lepton_compilers.importers.source import import_model
from lepton_compilers.passes.graph import bindings
from lepton_compilers.quantize.config import QuantizationConfig
from lepton_sdk import Session
from lepton_targets.errors import BadInputError, MissingExtraError, UnsupportedOperatorError
from support.command_line import lepton
from support.torch_networks import (
    Function,
    MobileCnn,
    PlainCnn,
    difference,
    eager,
    exported,
    normal,
    run,
    settled,
)

BATCH = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)}


def kinds(content: bytes, **options: Any) -> list[str]:
    return [type(op).__name__ for op in program_from(content, **options).function().operations]


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (settled(MobileCnn()), (1, 3, 32, 32)),
        (PlainCnn(), (1, 1, 8, 8)),
        (
            nn.Sequential(nn.Linear(12, 20), nn.SiLU(), nn.Linear(20, 20), nn.GELU(), nn.Linear(20, 3)),
            (1, 12),
        ),
    ],
    ids=["mobile", "plain", "mlp"],
)
def test_a_bundle_computes_what_pytorch_computes(network: nn.Module, shape: Any, tmp_path: Path) -> None:
    file = tmp_path / "net.pt2"
    file.write_bytes(exported(network, shape))
    bundle = compile(file, "host", output=tmp_path / "net.lep")
    assert bundle.manifest.model.source_format == "torch"
    assert bundle.manifest.name == "net"
    session = Session(tmp_path / "net.lep")
    for seed in range(3):
        x = normal(*shape, seed=seed)
        for found, wanted in zip(session.run(x).values(), eager(network, x)):
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def test_an_exported_program_compiles_without_a_file(tmp_path: Path) -> None:
    network = PlainCnn()
    program = torch.export.export(network, (torch.zeros(1, 1, 8, 8),))
    compile(program, "host", output=tmp_path / "net.lep")
    x = normal(1, 1, 8, 8)
    np.testing.assert_allclose(
        Session(tmp_path / "net.lep").run(x)["output"], eager(network, x)[0], rtol=0, atol=1e-5
    )


def test_a_module_is_answered_with_how_to_export_it() -> None:
    with pytest.raises(BadInputError, match=r"the model is a PlainCnn\n.*ExportedProgram"):
        program_from(PlainCnn())  # type: ignore[arg-type]


def test_normalisation_and_activations_vanish_into_their_layers() -> None:
    found = kinds(exported(settled(MobileCnn()), (1, 3, 32, 32)))
    assert found.count("Conv2d") == 5
    assert found.count("DepthwiseConv2d") == 1
    # One move at the front, NCHW to NHWC.
    assert found.count("Transpose") == 1
    assert "FloatKernel" not in found


def test_layers_are_called_by_their_modules() -> None:
    module = import_model(exported(settled(MobileCnn()), (1, 3, 32, 32)))
    names = [str(binding.var.name) for binding in bindings(module["main"])]
    expected = ["stem.0", "stem.1", "stem.2", "depthwise", "layer1.0.conv1", "layer1.1.bn2", "head"]
    assert set(expected) <= set(names)
    assert "layer1.0.add" in names


def test_results_are_called_by_the_models_keys() -> None:
    content = exported(settled(MobileCnn()), (1, 3, 32, 32))
    assert program_from(content).function().outputs == ("logits", "probabilities")
    assert program_from(exported(PlainCnn(), (1, 1, 8, 8))).function().outputs == ("output",)
    pair = Function(lambda self, x: (x.relu(), x + 1))
    assert program_from(exported(pair, (2, 3))).function().outputs == ("output_0", "output_1")


def test_several_inputs_and_keyword_arguments() -> None:
    class Two(nn.Module):
        def forward(self, left: torch.Tensor, *, right: torch.Tensor) -> torch.Tensor:
            return left - 2 * right

    program = torch.export.export(Two(), (torch.zeros(2, 3),), {"right": torch.zeros(2, 3)})
    found = program_from(program)
    assert found.function().inputs == ("left", "right")
    a, b = normal(2, 3, seed=1), normal(2, 3, seed=2)
    np.testing.assert_allclose(run(found, a, b)[0], a - 2 * b, rtol=1e-6)


def test_in_place_operators_change_what_is_read_later() -> None:
    def twice(self: Any, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        z = self.act(y)  # in place: the sum below reads the activated values
        return z + y

    network = Function(twice, conv=nn.Conv2d(2, 2, 1), act=nn.ReLU(inplace=True))
    assert difference(network, (1, 2, 4, 4)) <= 1e-6


def test_an_open_batch_is_one_unless_asked() -> None:
    network = PlainCnn()
    content = exported(network, (2, 1, 8, 8), **BATCH)
    assert program_from(content).tensors["x"].shape == (1, 1, 8, 8)
    program = program_from(content, shapes={"x": (4, 1, 8, 8)})
    x = normal(4, 1, 8, 8)
    np.testing.assert_allclose(run(program, x)[0], eager(network, x)[0], rtol=0, atol=1e-5)


def test_open_extents_must_be_fixed_within_what_was_exported() -> None:
    network = Function(lambda self, x: self.conv(x).mean((2, 3)), conv=nn.Conv2d(3, 4, 3))
    rows, columns = torch.export.Dim("rows", min=8, max=64), torch.export.Dim("columns", min=8, max=64)
    content = exported(network, (1, 3, 16, 16), dynamic_shapes=({2: rows, 3: columns},))
    with pytest.raises(BadInputError, match=r"leaves extent 2 of its shape open\n.*--shape x=1,3,N,N"):
        program_from(content)
    with pytest.raises(BadInputError, match=r"extent s\d+ of an input is 80; .* 8 to 64"):
        program_from(content, shapes={"x": (1, 3, 80, 16)})
    with pytest.raises(BadInputError, match=r"input 'x' is \[1, 3, .* in the file, \[2, 3, 16, 16\] was"):
        program_from(content, shapes={"x": (2, 3, 16, 16)})
    with pytest.raises(BadInputError, match="no input 'X'"):
        program_from(content, shapes={"X": (1, 3, 16, 16)})
    x = normal(1, 3, 12, 20)
    found = run(program_from(content, shapes={"x": (1, 3, 12, 20)}), x)[0]
    np.testing.assert_allclose(found, eager(network, x)[0], rtol=0, atol=1e-5)


def test_parameters_train_under_their_names_and_come_back_as_weights() -> None:
    first, second = PlainCnn(seed=0), PlainCnn(seed=1)
    trained = program_from(exported(second, (1, 1, 8, 8)), trainable=True)
    assert [v.source_name for v in trained.variables] == [name for name, _ in second.named_parameters()]
    assert "Relu" in [type(op).__name__ for op in trained.function().operations]
    weights = {}
    for variable in trained.variables:
        value = trained.tensors[variable.tensor].value
        assert value is not None
        turned = value.transpose(variable.source_axes or range(value.ndim))
        weights[str(variable.source_name)] = turned.reshape(variable.source_shape or turned.shape)
    for name, parameter in second.named_parameters():
        np.testing.assert_array_equal(weights[name], parameter.detach().numpy())
    x = normal(1, 1, 8, 8)
    found = run(program_from(exported(first, (1, 1, 8, 8)), weights=weights), x)[0]
    np.testing.assert_allclose(found, eager(second, x)[0], rtol=0, atol=1e-5)


def test_a_whole_state_dict_replaces_parameters_and_statistics() -> None:
    network, other = settled(MobileCnn(), seed=0), settled(MobileCnn(), seed=5)
    state = {name: tensor.numpy() for name, tensor in other.state_dict().items()}
    x = normal(1, 3, 32, 32)
    found = run(program_from(exported(network, (1, 3, 32, 32)), weights=state), x)[0]
    np.testing.assert_allclose(found, eager(other, x)[0], rtol=0, atol=1e-5)


def test_unknown_misshapen_and_non_finite_weights_are_refused() -> None:
    content = exported(PlainCnn(), (1, 1, 8, 8))
    with pytest.raises(BadInputError, match=r"no parameter 'stem.wieght'; did you mean stem.weight"):
        program_from(content, weights={"stem.wieght": np.zeros((4, 1, 3, 3), np.float32)})
    with pytest.raises(BadInputError, match=r"'stem.weight' has shape \(4, 9\)"):
        program_from(content, weights={"stem.weight": np.zeros((4, 9), np.float32)})
    with pytest.raises(BadInputError, match=r"'dw.bias' holds nan"):
        program_from(content, weights={"dw.bias": np.full(8, np.nan, np.float32)})


def test_a_float_model_is_quantised_as_others_are() -> None:
    network = PlainCnn()
    content = exported(network, (1, 1, 8, 8), dynamic_shapes=({0: torch.export.Dim.STATIC},))
    samples = np.concatenate([normal(1, 1, 8, 8, seed=seed) for seed in range(32)])
    program = program_from(content, quantization=QuantizationConfig(), calibration={"x": samples})
    assert program.tensors[program.function().operations[2].inputs[0]].dtype == "int8"
    x = normal(1, 1, 8, 8, seed=50)
    wanted = eager(network, x)[0]
    assert np.abs(run(program, x)[0] - wanted).max() <= 0.1 * np.abs(wanted).max()


def test_batch_normalisation_cannot_be_trained() -> None:
    content = exported(settled(MobileCnn()), (1, 3, 32, 32))
    with pytest.raises(UnsupportedOperatorError, match=r"(?s)can't be trained.*layer 'stem.1'.*layer1.0.bn1"):
        program_from(content, trainable=True)


def test_a_model_exported_for_training_is_refused() -> None:
    program = torch.export.export(settled(MobileCnn()).train(), (torch.zeros(2, 3, 32, 32),))
    with pytest.raises(
        BadInputError, match=r"(?s)training mode.*layer 'stem.1.*layer1.0.bn2.*model.eval\(\)"
    ):
        program_from(program)


def test_every_unsupported_operator_is_named_with_its_layer() -> None:
    network = Function(
        lambda self, x: self.tail(self.head(x).median(1)[0]),
        head=nn.Linear(4, 4),
        tail=nn.Sequential(nn.ReLU(), Function(lambda self, x: torch.cdist(x[None], x[None]))),
    )
    with pytest.raises(UnsupportedOperatorError) as caught:
        program_from(exported(network, (4, 4)))
    message, *details = caught.value.message, *caught.value.details
    assert message == "the PyTorch model has 2 unsupported operators"
    assert details[:2] == [
        "layer 'median' (aten.median.dim)",
        "layer 'tail.1._cdist_forward' (aten._cdist_forward.default)",
    ]
    assert details[2].startswith("supported: ")


def test_what_draws_at_random_is_refused() -> None:
    network = Function(lambda self, x: x + torch.rand_like(x))
    with pytest.raises(UnsupportedOperatorError, match="rand"):
        program_from(exported(network, (2, 3)))


@pytest.mark.parametrize(
    ("network", "inputs", "message"),
    [
        (Function(lambda self, x: x * 2), torch.zeros(2, dtype=torch.complex64), "input 'x' is complex64"),
        (nn.Linear(3, 2).half(), torch.zeros(1, 3).half(), "is float16; float32 is supported"),
        (Function(lambda self, x: (x.relu(), 3)), torch.zeros(1, 3), "output 1 of the .* is a constant"),
        (nn.Conv2d(3, 2, 1), torch.zeros(3, 4, 4), "without a batch"),
    ],
    ids=["complex", "half", "constant", "unbatched"],
)
def test_what_has_no_place_is_refused(network: nn.Module, inputs: torch.Tensor, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        program_from(torch.export.export(network, (inputs,)))


class Words(nn.Module):
    """The mean of words' vectors, and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(20, 16), nn.Linear(16, 4)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.head(self.embedding(words).mean(1))


def test_integers_choose_rows_of_an_embedding() -> None:
    network, words = Words().eval(), torch.randint(0, 20, (1, 7))
    program = program_from(torch.export.export(network, (words,)))
    assert program.tensors["words"].dtype == "int64"
    np.testing.assert_allclose(run(program, words.numpy())[0], network(words).detach().numpy(), atol=1e-6)


def test_an_input_that_comes_out_unchanged_is_copied() -> None:
    x = normal(1, 3)
    program = program_from(torch.export.export(Function(lambda self, x: x), (torch.zeros(1, 3),)))
    np.testing.assert_array_equal(run(program, x)[0], x)


def test_extents_that_are_multiples_are_solved_for_what_they_are_multiples_of() -> None:
    network = Function(lambda self, x: x.reshape(2, 4, -1).mean(1))
    content = exported(network, (2, 12), dynamic_shapes=({1: 4 * torch.export.Dim("quarter")},))
    x = normal(2, 20)
    found = run(program_from(content, shapes={"x": (2, 20)}), x)[0]
    np.testing.assert_allclose(found, eager(network, x)[0], rtol=0, atol=1e-6)
    with pytest.raises(BadInputError, match=r"input 'x' is \[2, 4\*s\d+\] in the file.* \[2, 10\] was asked"):
        program_from(content, shapes={"x": (2, 10)})


def test_shapes_that_contradict_the_graph_are_refused() -> None:
    network = Function(lambda self, x: x.reshape(2, 4, -1).mean(1))
    content = exported(network, (2, 12), dynamic_shapes=({1: torch.export.Dim.AUTO},))
    with pytest.raises(BadInputError, match=r"does not hold together with the input shapes x \[2, 10\]"):
        program_from(content, shapes={"x": (2, 10)})


def test_without_pytorch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    content = exported(PlainCnn(), (1, 1, 8, 8))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"extra 'torch'") as caught:
        import_model(content)
    assert caught.value.exit_code == 5


def test_the_command_compiles_a_file_with_trained_weights(tmp_path: Path) -> None:
    file, weights = tmp_path / "net.pt2", tmp_path / "tuned.safetensors"
    file.write_bytes(exported(PlainCnn(seed=0), (1, 1, 8, 8)))
    tuned = PlainCnn(seed=1)
    save_file({name: tensor.numpy() for name, tensor in tuned.state_dict().items()}, weights)
    lepton("compile", file, "--weights", weights, "-o", tmp_path / "net.lep")
    x = normal(1, 1, 8, 8)
    found = Session(tmp_path / "net.lep").run(x)["output"]
    np.testing.assert_allclose(found, eager(tuned, x)[0], rtol=0, atol=1e-5)


def test_the_command_without_pytorch_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "net.pt2"
    file.write_bytes(exported(PlainCnn(), (1, 1, 8, 8)))
    (tmp_path / "torch.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    result = lepton("compile", file, "-o", tmp_path / "net.lep", check=False)
    assert result.code == 5
    assert "pip install 'lepton-edge[torch]'" in result.err
    assert "Traceback" not in result.err
