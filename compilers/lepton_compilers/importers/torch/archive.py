"""What a .pt2 file holds, checked before PyTorch reads any of it.

`torch.export.load` is made for files that one trusts: it unpickles sample inputs, pickled weights and custom
objects without restriction, loads compiled libraries, evaluates shape expressions and guards as Python, and
writes the graph's names into source code that it runs. Here only raw tensors and a graph of plain names pass;
what a compiler has no use for (sample inputs, guards, libraries, extra files) is left out.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

from lepton_compilers.peak import checked_size
from lepton_targets.errors import BadInputError, UnsupportedOperatorError

ZIP_MAGIC = b"PK\x03\x04"
HOW_TO_EXPORT = "accepted: torch.export.save(torch.export.export(model.eval(), inputs), 'model.pt2')"

MODEL = "models/model.json"
SAMPLE_INPUTS = "data/sample_inputs/model.pt"
CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
COPIED = ("archive_format", "archive_version", "byteorder", ".data/version", ".data/serialization_id")
RAW_TENSOR = re.compile(r"data/(weights|constants)/(weight|tensor)_\d+")

TARGET = re.compile(
    r"torch\.ops\.(aten|quantized_decomposed)\.(?!__)\w+\.\w+|torch\.ops\.aten\.__(and|or|xor)__\.\w+"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|pow|eq|ne|lt|le|gt|ge)|math\.\w+|torch\.sym_\w+"
)
OTHER_TARGET = re.compile(r"torch\.ops\.(\w+\.\w+(\.\w+)?)", re.ASCII)
PLAIN = re.compile(r"[\w.]*", re.ASCII)
"""Of names and of string arguments: nothing that could end an identifier or a literal in generated source."""
SYMBOL = re.compile(r"Symbol\('([a-z]+\d+)'(, \w+=(True|False))*\)")
SHAPE_FUNCTIONS = frozenset(
    (
        *("Add", "CeilDiv", "CeilToInt", "CleanDiv", "FloorDiv", "FloorToInt", "Integer", "Max", "Min"),
        *("Mod", "ModularIndexing", "Mul", "PythonMod", "Where"),
    )
)
SHAPE_SYNTAX = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Constant, ast.Name, ast.Call, ast.Load),
    *(ast.operator, ast.unaryop, ast.cmpop),
)
CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")


def checked_archive(content: bytes) -> bytes:
    """The archive with nothing in it that PyTorch would execute, its tensors on the CPU.

    Raises BadInputError for what is no archive of torch.export.save, is damaged, or holds more than an
    exported program of raw tensors.
    """
    members = _members(content)
    kept = {name: members[name] for name in COPIED if name in members}
    kept |= {name: data for name, data in members.items() if RAW_TENSOR.fullmatch(name)}
    for name in CONFIGS:
        kept[name] = _json_bytes(_checked_config(_parsed(name, members), kept))
    kept[MODEL] = _json_bytes(_checked_model(_parsed(MODEL, members)))
    kept[SAMPLE_INPUTS] = b""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, data in kept.items():
            archive.writestr(f"archive/{name}", data)
    return written.getvalue()


def _members(content: bytes) -> dict[str, bytes]:
    """Contents by name, without the folder that all lie in."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            names = [entry.filename.partition("/")[2] for entry in entries]
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise BadInputError(
                    "the .pt2 file is compressed", "torch.export.save writes it uncompressed: use its file"
                )
            if sum(entry.file_size for entry in entries) > len(content) or len({*names}) < len(names):
                raise BadInputError("the .pt2 file is damaged: its members overlap or repeat")
            _check_kind(names)
            return {name: archive.read(entry) for name, entry in zip(names, entries)}
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, RuntimeError, OSError) as error:
        raise BadInputError(
            f"the .pt2 file is truncated or damaged ({len(content)} bytes)",
            str(error) or type(error).__name__,
        ) from error


def _check_kind(names: list[str]) -> None:
    models = [name for name in names if name.startswith("models/")]
    if "archive_format" in names and models == [MODEL]:
        missing = [name for name in CONFIGS if name not in names]
        if missing:
            raise BadInputError(
                f"the .pt2 file holds no {missing[0]}: another version of PyTorch wrote it, or it is damaged",
                "write it anew with PyTorch 2.13:  torch.export.save(torch.export.load(path), path)",
            )
        return
    if models:
        found = f"the .pt2 file holds {', '.join(models)}; one program, {MODEL}, is supported"
    elif any(name.endswith(("data.pkl", "constants.pkl")) for name in names):
        found = "this is a checkpoint or a TorchScript file, which holds pickles and no exported program"
    else:
        found = "this zip file holds no exported program"
    raise BadInputError(found, HOW_TO_EXPORT)


def _parsed(name: str, members: Mapping[str, bytes]) -> Any:
    try:
        return json.loads(members[name])
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"the .pt2 file is damaged: {name} is no JSON", str(error)) from error


def _json_bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


def _checked_config(config: Any, members: Mapping[str, bytes]) -> Any:
    """A table of tensors, each raw and in the archive. Raises BadInputError for pickles among them."""
    try:
        for name, entry in config["config"].items():
            path = entry["path_name"]
            raw = RAW_TENSOR.pattern.rpartition("/")[2]
            if entry["use_pickle"] or not re.fullmatch(raw, path):
                raise BadInputError(
                    f"'{name}' is kept as a pickle, which could run code when read; raw tensors are accepted",
                    "subclasses of Tensor and custom objects are kept so; export with plain tensors",
                )
            meta = entry["tensor_meta"]
            extents = [int(size["as_int"]) for size in meta["sizes"]]
            if not any(member.endswith(f"/{path}") for member in members):
                raise BadInputError(f"the .pt2 file is damaged: the tensor '{name}' is missing")
            checked_size(f"parameter '{name}'", extents, "float64")
            meta["device"] = {"type": "cpu", "index": None}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadInputError("the .pt2 file is damaged: its table of tensors is malformed") from error
    return config


def _checked_model(model: Any) -> Any:
    """The graph without its metadata but the modules that layers come from, without guards."""
    try:
        graph_module = model["graph_module"]
        graph_module["metadata"] = {}
        graph_module["module_call_graph"] = graph_module["module_call_graph"][:1]
        others = []
        for node in graph_module["graph"]["nodes"]:
            stack = node["metadata"].get("nn_module_stack")
            other = OTHER_TARGET.fullmatch(node["target"])
            if other is not None and not _is_target(node["target"]):
                path = str(stack or ",,").split(";")[-1].split(",")[1] or "forward"
                others.append(f"layer '{path}' ({other[1]})")
            node["metadata"] = {} if stack is None else {"nn_module_stack": str(stack)}
        if others:
            raise UnsupportedOperatorError(
                f"the PyTorch model has {len(others)} unsupported operator{'s' if len(others) > 1 else ''}:"
                " of other libraries, or control flow",
                *others,
                "PyTorch's own operators (aten) are supported, each with its limits: docs/operators.md",
            )
        model["guards_code"] = []
        _check("graph_module", graph_module)
        for extent, bounds in model["range_constraints"].items():
            _refuse_unless(_is_shape(extent), extent)
            _check("range_constraints", bounds)
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise BadInputError("the .pt2 file is damaged: its graph is malformed") from error
    return model


def _check(key: str, value: Any) -> None:
    """Raises BadInputError for text that PyTorch could take for more than a name. Devices become the CPU."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in ("device", "as_device") and isinstance(inner, dict):
                value[name] = {"type": "cpu", "index": None}
            elif name != "metadata":
                _refuse_unless(PLAIN.fullmatch(name) is not None, name)
                _check(name, inner)
    elif isinstance(value, list):
        for inner in value:
            _check(key, inner)
    elif isinstance(value, str):
        _refuse_unless(TEXT.get(key, _is_plain)(value), value)


def _refuse_unless(accepted: bool, text: str) -> None:
    if not accepted:
        raise BadInputError(
            f"the .pt2 file holds the text {text[:60]!r} where a name, an operator or a shape is expected",
            "the file is damaged, or made to run code; operators of PyTorch itself are supported",
        )


def _is_plain(text: str) -> bool:
    return PLAIN.fullmatch(text) is not None


def _is_target(text: str) -> bool:
    return TARGET.fullmatch(text) is not None


def _is_shape(text: str) -> bool:
    """Arithmetic over symbols and numbers; sympy would evaluate anything else as Python."""
    try:
        nodes = list(ast.walk(ast.parse(SYMBOL.sub(r"\1", text), mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    for node in nodes:
        if not isinstance(node, SHAPE_SYNTAX) or (isinstance(node, ast.Call) and node.keywords):
            return False
        if isinstance(node, ast.Constant) and not isinstance(node.value, int | float):
            return False
        if isinstance(node, ast.Name):
            known = node.id in SHAPE_FUNCTIONS if id(node) in called else re.fullmatch(r"[a-z]+\d+", node.id)
            if not known:
                return False
    return not any(isinstance(node, ast.Pow) for node in nodes)


def _is_containers(text: str) -> bool:
    """How inputs and outputs lie in tuples and dicts; other types name modules to import."""
    try:
        _version, tree = json.loads(text)
        waiting = [tree]
        while waiting:
            tree = waiting.pop()
            if tree["type"] not in CONTAINERS:
                return False
            waiting += tree["children_spec"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
    return True


EINSUM = re.compile(r"[\w.,>* -]*", re.ASCII)

TEXT: Mapping[str, Callable[[str], bool]] = {
    "target": _is_target,
    "as_string": lambda text: EINSUM.fullmatch(text) is not None,
    "expr_str": _is_shape,
    "in_spec": _is_containers,
    "out_spec": _is_containers,
    "stack_trace": lambda text: True,
}
