"""What a bundle is measured against, other runtimes and other bundles: each gives a call, inputs set once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from lepton_targets.errors import BadInputError, MissingExtraError, UsageError, nearest

if TYPE_CHECKING:
    from pathlib import Path

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Peer:
    """A runtime with a model open. call: one inference on the inputs that it was opened with.

    target: of the code of another bundle; None for other runtimes.
    """

    name: str
    version: str
    file: str
    call: Call
    target: str | None = None


def open_peer(
    text: str,
    inputs: Sequence[np.ndarray],
    threads: int = 1,
    function: str = "infer",
    trust: Sequence[Path] | None = None,
) -> Peer:
    """The rival that `text` names as NAME:FILE, on `inputs` in the order of the model's own.

    Of another bundle, `lepton:FILE`, the same function is called, on inputs of its own where only their types
    are others; trust: whose signature it must carry. Raises UsageError for an unknown name, MissingExtraError
    where the runtime is not installed, BadInputError where the file can't be opened or its inputs differ, and
    for a bundle what Session raises.
    """
    name, _, path = text.partition(":")
    known = ("lepton", *_PEERS)
    if name not in known or not path:
        accepted = ", ".join(f"{each}:FILE" for each in known)
        raise UsageError(f"--against is '{text}'{nearest(name, known)}", f"accepted: {accepted}")
    if name == "lepton":
        return _lepton(path, inputs, threads, function, trust)
    package, opener = _PEERS[name]
    try:
        call = opener(path, inputs, threads)
    except ImportError as error:
        raise MissingExtraError(f"measuring against {name}", "bench", error.name or package) from None
    return Peer(name, metadata.version(package), path, call)


def _lepton(
    path: str, inputs: Sequence[np.ndarray], threads: int, function: str, trust: Sequence[Path] | None
) -> Peer:
    """Another bundle. Its example inputs serve where types differ, as int8's and float32's of one network."""
    from lepton_sdk import __version__
    from lepton_sdk.session import Session

    session = Session(path, threads=threads, trust=trust)
    specs = session.interface(function).inputs
    given = {spec.name: array for spec, array in zip(specs, inputs)}
    if [spec.shape for spec in specs] == [array.shape for array in inputs]:
        if any(spec.dtype != array.dtype for spec, array in zip(specs, inputs)):
            given = session.example_inputs(function)
    else:
        _checked(path, inputs, [(spec.shape, spec.dtype) for spec in specs])
    return Peer("lepton", __version__, path, session.bind(given, function=function), session.target)


def _check_file(path: str) -> None:
    if not os.path.isfile(path):
        raise BadInputError(f"cannot read the model {path}: there is no such file")


def _checked(path: str, inputs: Sequence[np.ndarray], theirs: Sequence[tuple[Sequence[Any], str]]) -> None:
    own = [(tuple(array.shape), str(array.dtype)) for array in inputs]
    found = [(tuple(shape), dtype) for shape, dtype in theirs]
    if own != found:
        raise BadInputError(
            f"the bundle and {path} take different inputs",
            f"the bundle: {own}; {os.path.basename(path)}: {found}",
            "measure against the model that the bundle was compiled from, or one like it",
        )


def _litert(path: str, inputs: Sequence[np.ndarray], threads: int) -> Call:
    """LiteRT with XNNPACK, its default."""
    from lepton_sdk.engines.litert import open

    engine = open(path, threads)
    _checked(path, inputs, [(spec.shape, spec.dtype) for spec in engine.functions["infer"].inputs])
    return engine.resident(inputs)


_ONNX_TYPES = {"tensor(float)": "float32", "tensor(int8)": "int8", "tensor(uint8)": "uint8"}


def _onnxruntime(path: str, inputs: Sequence[np.ndarray], threads: int) -> Call:
    """ONNX Runtime's CPU provider, inputs and outputs bound."""
    import onnxruntime

    _check_file(path)

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no class but this one
        raise BadInputError(f"ONNX Runtime does not open {path}: {error}") from None
    theirs = session.get_inputs()
    _checked(path, inputs, [(i.shape, _ONNX_TYPES.get(i.type, i.type)) for i in theirs])
    binding = session.io_binding()
    for spec, array in zip(theirs, inputs):
        binding.bind_ortvalue_input(spec.name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
    for output in session.get_outputs():
        binding.bind_output(output.name, "cpu")
    return lambda: session.run_with_iobinding(binding)


def _openvino(path: str, inputs: Sequence[np.ndarray], threads: int) -> Call:
    """OpenVINO's CPU device, one stream, computing in float32 where the model does."""
    import openvino

    _check_file(path)

    configuration = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    core = openvino.Core()
    try:
        model = core.read_model(path)
        if model.is_dynamic() and len(model.inputs) == len(inputs):
            model.reshape({port: list(array.shape) for port, array in zip(model.inputs, inputs)})
        request = core.compile_model(model, "CPU", configuration).create_infer_request()
    except RuntimeError as error:
        raise BadInputError(f"OpenVINO does not open {path}: {str(error).splitlines()[0]}") from None
    types = [np.dtype(port.element_type.to_dtype()).name for port in model.inputs]
    _checked(path, inputs, [(tuple(p.shape), kind) for p, kind in zip(model.inputs, types)])
    for index, array in enumerate(inputs):
        request.set_input_tensor(index, openvino.Tensor(array))

    def call() -> None:
        request.start_async()
        request.wait()

    return call


_PEERS: Mapping[str, tuple[str, Callable[[str, Sequence[np.ndarray], int], Call]]] = {
    "litert": ("ai-edge-litert", _litert),
    "onnxruntime": ("onnxruntime", _onnxruntime),
    "openvino": ("openvino", _openvino),
}
"""By name: the distribution, and what opens a file."""
