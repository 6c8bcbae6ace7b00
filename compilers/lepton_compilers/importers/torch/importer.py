"""PyTorch networks → Relax: a `.pt2` file of torch.export, read without running anything in it.

The archive is checked first (archive.py). Then PyTorch itself traces the graph anew, with the input
shapes fixed (exported_shapes.py), in-place operators made functions, layers left whole. layers.py
converts the result. Layers are called by their module's path, results by the keys of the model's dict, else
`output` or `output_0`, `output_1` …

With trainable=True the parameters become named inputs of `main`, their values its attribute `params`; buffers
are constants.
"""

from __future__ import annotations

import contextlib
import io
import logging
import operator
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lepton_compilers.importers.replaced import check_names, replacement
from lepton_compilers.importers.torch.archive import checked_archive
from lepton_compilers.importers.torch.operators import (
    HARMLESS_TEXTS,
    SILENT,
    SUPPORTED,
    TRAINING_NORMS,
    WHOLE,
    family,
    spelt,
)
from lepton_compilers.quiet import abandon, quiet
from lepton_targets.errors import BadInputError, LeptonError, MissingExtraError, UnsupportedOperatorError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

Array = npt.NDArray[Any]
Node = Any


def import_torch(
    content: bytes, *, shapes: Mapping[str, tuple[int, ...]], trainable: bool, weights: Mapping[str, Array]
) -> Any:
    """The Relax module of a .pt2 file.

    Raises BadInputError, UnsupportedOperatorError, and MissingExtraError where PyTorch is not installed.
    """
    require_torch()
    archive = checked_archive(content)
    with quiet(), _silent_logs():
        program = _loaded(archive, len(content))
        _replace(program, weights)
        return _imported(program, shapes, trainable)


def require_torch() -> None:
    """Import PyTorch. Raises MissingExtraError where it is not installed."""
    try:
        import torch
        import torch.ao.quantization.fx._decomposed
        import torch.export  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("compiling a PyTorch model", "torch", "torch") from error


def saved(model: Any) -> bytes:
    """The .pt2 file of an ExportedProgram. Raises BadInputError for anything else."""
    kind = type(model)
    if f"{kind.__module__}.{kind.__name__}" != "torch.export.exported_program.ExportedProgram":
        raise BadInputError(
            f"the model is a {kind.__name__}",
            "accepted: the path or bytes of a model file, or an ExportedProgram:",
            "torch.export.export(module.eval(), example_inputs)",
        )
    import torch

    written = io.BytesIO()
    with quiet(), _silent_logs():
        torch.export.save(model, written)
    return written.getvalue()


def _loaded(archive: bytes, n_bytes: int) -> ExportedProgram:
    import torch

    try:
        return torch.export.load(io.BytesIO(archive))
    except Exception as error:
        # PyTorch signals malformed graphs by whatever its own code trips over.
        raise BadInputError(
            f"the .pt2 file can't be read by PyTorch {torch.__version__} ({n_bytes} bytes):"
            " it is damaged, or another version wrote it",
            _first_line(error),
        ) from error


def _imported(program: ExportedProgram, shapes: Mapping[str, tuple[int, ...]], trainable: bool) -> Any:
    program = traced(program, shapes, trainable)
    _check_operators(program, trainable)
    return _converted(program, trainable)


def traced(
    program: ExportedProgram, shapes: Mapping[str, tuple[int, ...]], trainable: bool = False
) -> ExportedProgram:
    """The program in terms of the operators that are converted, its input shapes fixed.

    Raises BadInputError for inputs, tensors and shapes that can't be, UnsupportedOperatorError for operators
    that do more than compute. Consumes `program`.
    """
    from lepton_compilers.importers.torch.exported_shapes import fix_input_shapes

    _check_tensors(program)
    _check_safe(program)
    fix_input_shapes(program, shapes)
    try:
        return program.run_decompositions(_decompositions(program, trainable))
    except Exception as error:
        asked = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items()) or "those of the file"
        raise BadInputError(
            f"the PyTorch model does not hold together with the input shapes {asked}", _first_line(error)
        ) from error


def _decompositions(program: ExportedProgram, trainable: bool) -> Any:
    """PyTorch's own, but for layers that are better left whole; recurrent ones train step by step."""
    import torch

    from lepton_compilers.importers.torch.recurrent import kept_whole

    recurrent = [node for node in program.graph.nodes if family(spelt(node.target)) in ("gru", "lstm")]
    sequences = not trainable and all(map(kept_whole, recurrent))
    whole = WHOLE.union(("gru", "lstm")) if sequences else WHOLE
    table = torch.export.default_decompositions()
    for known in list(table):
        if family(str(known)) in whole:
            del table[known]
    return table


def _converted(program: ExportedProgram, trainable: bool) -> Any:
    import tvm
    from tvm import relax

    from lepton_compilers.importers.torch.layers import TorchLayers
    from lepton_compilers.importers.torch.rules import RULES

    nodes = list(program.graph.nodes)
    kinds, values = _kinds(program), _values(program)
    trained = [n for n in values if trainable and kinds[n.name][0] == "PARAMETER"]
    constants = {node: tensor for node, tensor in values.items() if node not in trained}
    inputs = [n for n in nodes if n.op == "placeholder" and n not in values]
    variables = {}
    for node in (*inputs, *trained):
        name = kinds[node.name][1] if node in trained else node.name
        value = node.meta["val"]
        kind = str(value.dtype).removeprefix("torch.")
        variables[node] = relax.Var(name, relax.TensorType(tuple(value.shape), kind))
    attributes = {"num_input": len(inputs), "output_names": _output_names(program)}
    layers = TorchLayers(layer_names(nodes), constants, RULES)
    try:
        module = layers.function(nodes, variables, attributes)
    except (LeptonError, MemoryError):
        abandon(layers.block_builder)
        raise
    except Exception as error:
        # TVM's converters signal what they can't take by whatever their own code trips over.
        abandon(layers.block_builder)
        raise UnsupportedOperatorError(
            f"layer '{layers.current}' has a form that can't be imported",
            f"{type(error).__name__}: {_first_line(error)}",
        ) from error
    if not trained:
        return module
    # TVM takes over only arrays it may write to.
    parameters = [tvm.runtime.tensor(np.array(values[node].numpy(), order="C")) for node in trained]
    return tvm.IRModule({"main": module["main"].with_attr("params", parameters)})


def layer_names(nodes: Sequence[Node]) -> dict[Node, str]:
    """Each node's layer: its module's path, and in a module of several operators the node's own name too."""
    operators = [node for node in nodes if node.op == "call_function"]
    paths = {node: _module_path(node) for node in operators}
    count = Counter(path for node, path in paths.items() if node.target is not operator.getitem)
    parents = {path.rpartition(".")[0] for path in count}
    names: dict[Node, str] = {}
    for node, path in paths.items():
        if node.target is operator.getitem and node.args[0] in names:
            first = node.args[1] == 0
            names[node] = names[node.args[0]] + ("" if first else f".{node.args[1]}")
        elif not path and node.target.__name__.startswith("quantize") and node.args[0] in names:
            # Quantizers put these in after the layer whose result they make integers: they end it.
            names[node] = names[node.args[0]]
            names[node.args[0]] += "/real"
        elif path and count[path] == 1 and path not in parents:
            names[node] = path
        else:
            names[node] = f"{path}.{node.name}" if path else str(node.name)
    return names


def _module_path(node: Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][0]) if stack else ""


def _check_tensors(program: ExportedProgram) -> None:
    """Raises BadInputError for parameters and buffers in floats other than float32."""
    import torch

    for name, tensor in (*program.named_parameters(), *program.named_buffers(), *program.constants.items()):
        if not isinstance(tensor, torch.Tensor):
            raise BadInputError(f"'{name}' of the PyTorch model is no tensor but a {type(tensor).__name__}")
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise BadInputError(
                f"'{name}' of the PyTorch model is {kind}; float32 is supported", "export  model.float()"
            )


def _check_safe(program: ExportedProgram) -> None:
    """Raises UnsupportedOperatorError for operators that do more than compute tensors from tensors.

    Tracing calls each operator, if only on shapes; some of PyTorch's read and write files.
    """
    from torch._ops import OpOverload

    names = layer_names(list(program.graph.nodes))
    refused = []
    for node, layer in names.items():
        if isinstance(node.target, OpOverload):
            schema = node.target._schema
            texts = [a.name for a in schema.arguments if "str" in str(a.type)]
            strange = [name for name in texts if name not in HARMLESS_TEXTS]
            if strange or not (schema.returns or family(str(node.target)) in SILENT):
                refused.append(f"layer '{layer}' ({spelt(node.target)})")
    _refuse(refused)


def _check_operators(program: ExportedProgram, trainable: bool) -> None:
    names = layer_names(list(program.graph.nodes))
    families = {node: family(spelt(node.target)) for node in names}
    batch_norms = [f"layer '{names[n]}'" for n, found in families.items() if found in TRAINING_NORMS]
    if batch_norms:
        raise BadInputError(
            "the PyTorch model was exported in training mode: its batch normalisation counts on the batch",
            *batch_norms,
            "export it for inference:  torch.export.export(model.eval(), inputs)",
        )
    taken = SILENT.union(SUPPORTED)
    _refuse(
        [f"layer '{names[n]}' ({spelt(n.target)})" for n, found in families.items() if found not in taken]
    )
    normed = [f"layer '{names[n]}'" for n, found in families.items() if "batch_norm" in found]
    if trainable and normed:
        raise UnsupportedOperatorError(
            "batch normalisation can't be trained on the device",
            *normed,
            "fold it into the convolutions before exporting (torch.nn.utils.fusion), then train those",
        )


def _refuse(layers: Sequence[str]) -> None:
    if layers:
        raise UnsupportedOperatorError(
            f"the PyTorch model has {len(layers)} unsupported operator{'s' if len(layers) > 1 else ''}",
            *layers,
            f"supported: {', '.join(SUPPORTED)}",
            "each with its limits: docs/operators.md",
        )


def _replace(program: ExportedProgram, weights: Mapping[str, Array]) -> None:
    """Write trained weights over the parameters and float buffers of the same name."""
    import torch

    known = {name: t for name, t in program.state_dict.items() if t.is_floating_point()}
    # A whole state_dict also holds counters, which inference does not read.
    given = {n: array for n, array in weights.items() if n in known or n not in program.state_dict}
    check_names(given, {name: tuple(tensor.shape) for name, tensor in known.items()})
    for name, array in given.items():
        fresh = torch.from_numpy(replacement(name, array, tuple(known[name].shape)).copy())
        program.state_dict[name] = torch.nn.Parameter(fresh, requires_grad=False)


def _kinds(program: ExportedProgram) -> dict[str, tuple[str, str]]:
    """What each placeholder stands for, and its name in the module: ('PARAMETER', 'conv.weight')."""
    return {
        spec.arg.name: (spec.kind.name, spec.target or "") for spec in program.graph_signature.input_specs
    }


def _values(program: ExportedProgram) -> dict[Node, Any]:
    """The tensors of all placeholders but the inputs."""
    held = {**program.constants, **dict(program.named_buffers()), **dict(program.named_parameters())}
    kinds = _kinds(program)
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder"]
    return {n: held[kinds[n.name][1]].detach() for n in placeholders if kinds[n.name][0] != "USER_INPUT"}


def _output_names(program: ExportedProgram) -> list[str]:
    """The keys of a model that returns a dict; else `output`, or `output_0`, `output_1` …"""
    from torch.export.graph_signature import OutputKind, TensorArgument

    specs = program.graph_signature.output_specs
    users = [spec for spec in specs if spec.kind is OutputKind.USER_OUTPUT]
    if len(users) < len(specs):
        changed = ", ".join(str(spec.target) for spec in specs if spec not in users)
        raise UnsupportedOperatorError(
            f"the PyTorch model changes its own tensors when it runs: {changed}",
            "export it for inference (model.eval()); state between calls goes in and out as tensors",
        )
    for index, spec in enumerate(users):
        if not isinstance(spec.arg, TensorArgument):
            raise UnsupportedOperatorError(f"output {index} of the PyTorch model is a constant")
    layout = program.call_spec.out_spec
    if layout is not None and layout.type is dict and len(layout.context) == len(users):
        return [str(key) for key in layout.context]
    return ["output"] if len(users) == 1 else [f"output_{index}" for index in range(len(users))]


@contextlib.contextmanager
def _silent_logs() -> Iterator[None]:
    """PyTorch logs tracebacks of what it then raises."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip() or 'no detail').splitlines()[0]}"
