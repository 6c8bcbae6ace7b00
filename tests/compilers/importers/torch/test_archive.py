"""A .pt2 file can't make the compiler run anything, and damage is told as damage."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lepton_compilers.front import program_from
from lepton_compilers.importers.torch.archive import checked_archive
from lepton_targets.errors import BadInputError, LeptonError, UnsupportedOperatorError
from support.torch_networks import PlainCnn, exported

MODEL = "archive/models/model.json"
WEIGHTS = "archive/data/weights/model_weights_config.json"
SAMPLES = "archive/data/sample_inputs/model.pt"
CONTENT = exported(PlainCnn(), (2, 1, 8, 8), dynamic_shapes=({0: torch.export.Dim("batch")},))


class Loaded(Exception):
    """Raised by the pickle below when something loads it."""


class Trap:
    def __reduce__(self) -> Any:
        return (_spring, ())


def _spring() -> None:
    raise Loaded


def rewritten(members: dict[str, bytes | None], compression: int = zipfile.ZIP_STORED) -> bytes:
    """The file with members replaced, added, or left out where None."""
    with zipfile.ZipFile(io.BytesIO(CONTENT)) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()} | members
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", compression) as archive:
        for name, data in kept.items():
            if data is not None:
                archive.writestr(name, data)
    return written.getvalue()


def altered(member: str, change: Callable[[Any], None]) -> bytes:
    """The file with one of its JSON members changed."""
    with zipfile.ZipFile(io.BytesIO(CONTENT)) as archive:
        value = json.loads(archive.read(member))
    change(value)
    return rewritten({member: json.dumps(value).encode()})


def nodes(model: Any) -> Any:
    return model["graph_module"]["graph"]["nodes"]


def test_sample_inputs_are_not_unpickled() -> None:
    content = rewritten({SAMPLES: pickle.dumps(Trap())})
    assert program_from(content).function().operations
    with pytest.raises(Loaded):
        pickle.loads(pickle.dumps(Trap()))


def test_pickled_weights_are_refused() -> None:
    def pickled(config: Any) -> None:
        config["config"]["stem.weight"]["use_pickle"] = True

    with pytest.raises(BadInputError, match=r"'stem\.weight' is kept as a pickle, which could run code"):
        program_from(altered(WEIGHTS, pickled))

    def custom(config: Any) -> None:
        config["config"]["stem.weight"]["path_name"] = "custom_obj_0"

    with pytest.raises(BadInputError, match=r"'stem\.weight' is kept as a pickle"):
        program_from(altered(WEIGHTS, custom))


def test_compiled_libraries_and_other_members_are_left_out() -> None:
    extra = {"archive/data/aotinductor/model/x.so": b"\x7fELF", "archive/extra/notes": b"anything"}
    content = checked_archive(rewritten(dict(extra)))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert not set(extra) & set(archive.namelist())
    assert program_from(rewritten(dict(extra))).function().operations


def test_guards_are_left_out() -> None:
    content = altered(MODEL, lambda model: model.update(guards_code=["__import__('os').abort()"]))
    assert program_from(content).function().operations


HOSTILE_SHAPE = "__import__('os').abort()"


def _shape(model: Any) -> None:
    text = json.dumps(model["graph_module"])
    found = next(part for part in text.split('"expr_str": "')[1:]).split('"')[0]
    model["graph_module"] = json.loads(text.replace(found, HOSTILE_SHAPE))


def _placeholder(model: Any) -> None:
    text = json.dumps(model["graph_module"]).replace('"x"', '"x=__import__(chr(111)+chr(115)).abort()"')
    model["graph_module"] = json.loads(text)


def _target(name: str) -> Callable[[Any], None]:
    return lambda model: nodes(model)[0].update(target=name)


def _container(model: Any) -> None:
    signature = model["graph_module"]["module_call_graph"][0]["signature"]
    signature["in_spec"] = signature["in_spec"].replace("builtins.dict", "collections.defaultdict")


@pytest.mark.parametrize(
    "change",
    [_shape, _placeholder, _target("torch.hub.load"), _target("_operator.attrgetter"), _container],
    ids=["shape", "placeholder", "function", "python", "container"],
)
def test_text_that_pytorch_would_evaluate_is_refused(change: Callable[[Any], None]) -> None:
    with pytest.raises(BadInputError, match="holds the text"):
        program_from(altered(MODEL, change))


@pytest.mark.parametrize("name", ["torch.ops.aten.from_file.default", "torch.ops.aten.save.default"])
def test_operators_that_touch_files_are_refused(name: str) -> None:
    with pytest.raises(LeptonError):
        program_from(altered(MODEL, _target(name)))


def test_operators_of_other_libraries_are_named_with_their_layers() -> None:
    with pytest.raises(UnsupportedOperatorError, match=r"layer 'stem' \(torchvision.nms.default\)"):
        program_from(altered(MODEL, _target("torch.ops.torchvision.nms.default")))


def test_tensors_kept_on_a_gpu_are_read_on_the_cpu() -> None:
    def moved(value: Any) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                if name == "device":
                    value[name] = {"type": "cuda", "index": 0}
                else:
                    moved(inner)
        elif isinstance(value, list):
            for inner in value:
                moved(inner)

    assert program_from(altered(WEIGHTS, moved)).function().operations
    assert program_from(altered(MODEL, moved)).function().operations


def test_a_checkpoint_is_answered_with_how_to_export() -> None:
    written = io.BytesIO()
    torch.save(nn.Linear(2, 3).state_dict(), written)
    with pytest.raises(BadInputError, match=r"this is a checkpoint .*\n.*torch.export.save"):
        program_from(written.getvalue())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CONTENT[: len(CONTENT) // 2], "truncated or damaged"),
        (rewritten({}, zipfile.ZIP_DEFLATED), "is compressed"),
        (rewritten({MODEL: None}), "no exported program"),
        (rewritten({WEIGHTS: None}), "holds no data/weights"),
        (rewritten({MODEL: b"{"}), "is no JSON"),
        (rewritten({MODEL: b"[" * 100_000}), "is no JSON"),
        (rewritten({MODEL: b"{}"}), "its graph is malformed"),
        (rewritten({"archive/data/weights/weight_0": None}), "the tensor 'stem.weight' is missing"),
        (rewritten({"archive/data/weights/weight_0": b"abc"}), "can't be read by PyTorch"),
        (rewritten({"archive/models/other.json": b"{}"}), "one program, models/model.json, is supported"),
    ],
    ids=["half", "deflated", "model", "weights", "json", "deep", "empty", "tensor", "short", "two"],
)
def test_damage_is_told(content: bytes, message: str) -> None:
    with pytest.raises(BadInputError, match=message) as caught:
        program_from(content)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("seed", range(40))
def test_changed_bytes_are_refused_or_imported(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(CONTENT)
    for place in rng.integers(0, len(data), rng.integers(1, 4)):
        data[place] ^= int(rng.integers(1, 256))
    # Any other exception fails the test.
    with contextlib.suppress(LeptonError):
        assert program_from(bytes(data)).function().operations


@pytest.mark.parametrize("seed", range(40))
def test_changed_fields_are_refused_or_imported(seed: int) -> None:
    """The archive is whole, its checksums are right, and a few words or numbers of the graph are others."""
    rng = np.random.default_rng(seed)

    def leaves(value: Any) -> list[tuple[Any, Any]]:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        found = []
        for key, inner in list(items):
            found += leaves(inner) if isinstance(inner, dict | list) else [(value, key)]
        return found

    def change(value: Any) -> None:
        places = leaves(value.get("graph_module", value))
        for index in rng.integers(0, len(places), 2):
            holder, key = places[index]
            other, name = places[rng.integers(0, len(places))]
            options = [other[name], -1, 0, 2**40, "x", None, [], True]
            holder[key] = options[rng.integers(0, len(options))]

    with contextlib.suppress(LeptonError):
        assert program_from(altered((MODEL, WEIGHTS)[seed % 2], change)).function().operations
