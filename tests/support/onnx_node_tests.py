"""ONNX's own node tests, taken from the installed onnx package: which are in scope, compiled, run, compared.

Inputs that are a layer's parameters (weights, axes, shapes, scales …) become initialisers, as a model holds
them; the rest stay inputs. Many tests share one C compilation: their programs become functions of one.
"""

from __future__ import annotations

import dataclasses
import functools
import multiprocessing
import signal
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from lepton_compilers.importers.onnx.scope import reason_against
from lepton_sdk.program import Function, Operation, Program, Tensor
from lepton_targets.errors import LeptonError

Array = npt.NDArray[Any]

OLDEST_OPSET = 7
SECONDS_A_TEST = 60
TESTS_A_COMPILATION = 40

# fmt: off
PARAMETERS: Mapping[str, tuple[int, ...]] = {
    "AffineGrid": (1,), "BatchNormalization": (1, 2, 3, 4), "BlackmanWindow": (0,),
    "CausalConvWithState": (1, 2), "CenterCropPad": (1,), "Clip": (1, 2), "Col2Im": (1, 2),
    "Compress": (1,), "ConstantOfShape": (0,), "Conv": (1, 2), "ConvInteger": (1, 3),
    "ConvTranspose": (1, 2), "CumProd": (1,), "CumSum": (1,), "DFT": (1, 2), "DeformConv": (1, 3),
    "DequantizeLinear": (1, 2), "Dropout": (1, 2), "Expand": (1,), "GRU": (1, 2, 3, 4),
    "GroupNormalization": (1, 2), "HammingWindow": (0,), "HannWindow": (0,),
    "InstanceNormalization": (1, 2), "LSTM": (1, 2, 3, 4, 7), "LayerNormalization": (1, 2),
    "MatMulInteger": (2, 3), "MaxUnpool": (2,), "MelWeightMatrix": (0, 1, 2, 3, 4),
    "NonMaxSuppression": (2, 3, 4), "OneHot": (1,), "PRelu": (1,), "Pad": (1, 2, 3),
    "QLinearConv": (1, 2, 3, 4, 5, 6, 7, 8), "QLinearMatMul": (1, 2, 4, 5, 6, 7), "QuantizeLinear": (1, 2),
    "RMSNormalization": (1,), "RNN": (1, 2, 3, 4), "Range": (0, 1, 2), "ReduceL1": (1,), "ReduceL2": (1,),
    "ReduceLogSum": (1,), "ReduceLogSumExp": (1,), "ReduceMax": (1,), "ReduceMean": (1,), "ReduceMin": (1,),
    "ReduceProd": (1,), "ReduceSum": (1,), "ReduceSumSquare": (1,), "Reshape": (1,), "Resize": (1, 2, 3),
    "STFT": (1, 2, 3), "Slice": (1, 2, 3, 4), "Split": (1,), "Squeeze": (1,), "Tile": (1,), "TopK": (1,),
    "Trilu": (1,), "Unsqueeze": (1,), "Upsample": (1,),
}
"""Places of inputs that a model holds as initialisers."""
UNUSUAL = {
    "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "float8e8m0", "uint4", "int4", "uint2",
    "int2", "float4e2m1", "string",
}
# fmt: on
"""Element types that no target computes, in ONNX's names."""


@dataclass(frozen=True, slots=True)
class Case:
    """One node test. operator: the one it is about. outside: why it is out of scope; "" where it is in."""

    name: str
    operator: str
    outside: str
    test: Any


@dataclass(frozen=True, slots=True)
class Prepared:
    """A test's model with its parameters inside, and what goes in and must come out."""

    content: bytes
    inputs: tuple[Array, ...]
    expected: tuple[Array, ...]
    tolerance: tuple[float, float]


@functools.cache
def cases() -> tuple[Case, ...]:
    """Every node test of opset 7 or later, which the importer reads, by name."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests = collect_testcases()
    plain = {t.name: t for t in tests}
    found = []
    for test in tests:
        base = plain.get(test.name.split("_expanded")[0], test)
        operator = base.model.graph.node[-1].op_type
        if len({node.op_type for node in base.model.graph.node}) > 1:
            operator = _operator_of(base)
        if _opset(test.model) >= OLDEST_OPSET:
            found.append(Case(test.name, operator, _outside(test, base, operator), test))
    return tuple(sorted(found, key=lambda c: c.name))


def _operator_of(test: Any) -> str:
    """Of a test of several nodes: the operator its name begins with, else its first node's."""
    squeezed = test.name.removeprefix("test_").replace("_", "")
    kinds = sorted({node.op_type for node in test.model.graph.node}, key=len, reverse=True)
    return next((k for k in kinds if squeezed.startswith(k.lower())), test.model.graph.node[0].op_type)


def _opset(model: Any) -> int:
    """The opset of ONNX's own operators; the newest where a model uses others alone."""
    versions = {o.domain: o.version for o in model.opset_import}
    return int(versions.get("", onnx.defs.onnx_opset_version()))


def _outside(test: Any, base: Any, operator: str) -> str:
    graph = test.model.graph
    for item in (*graph.input, *graph.output):
        if item.type.WhichOneof("value") != "tensor_type":
            return "sequences, maps and optionals"
    if test.name.startswith("test_training_dropout") and "zero_ratio" not in test.name:
        return "its results are random"
    if any(np.size(array) == 0 for array in test.data_sets[0][1]):
        return "a result without elements"
    names = {item.type.tensor_type.elem_type for item in (*graph.input, *graph.output)}
    kinds = {onnx.TensorProto.DataType.Name(n).lower() for n in names}
    if kinds & UNUSUAL:
        return "an element type that no target computes"
    domain = next((n.domain for n in base.model.graph.node if n.op_type == operator), "")
    reason = reason_against(domain, operator)
    if reason is None:
        return ""
    return reason


def prepared(case: Case) -> Prepared:
    """The test as a model file, its data inputs and its outputs."""
    test = case.test
    model = onnx.ModelProto()
    model.CopyFrom(test.model)
    base = next((c.test for c in cases() if c.name == test.name.split("_expanded")[0]), test)
    held = _parameter_names(base.model, case.operator)
    inputs, expected = ([_array(item) for item in side] for side in test.data_sets[0])
    data = []
    for item, array in zip(list(model.graph.input), inputs):
        array = np.asarray(array)
        if item.name in held or array.size == 0:
            model.graph.initializer.append(numpy_helper.from_array(array, item.name))
            model.graph.input.remove(item)
            continue
        shape = onnx.helper.make_tensor_value_info(item.name, item.type.tensor_type.elem_type, array.shape)
        item.CopyFrom(shape)
        data.append(_interface(array))
    wanted = [_interface(np.asarray(array)) for array in expected]
    half = any(np.asarray(a).dtype.name in ("float16", "bfloat16") for a in (*inputs, *expected))
    # A half has 11 bits, or 8: two steps of rounding beyond ONNX's tolerance of one part in a thousand.
    relative = {"float16": 2e-3, "bfloat16": 1.6e-2}
    kinds = [np.asarray(a).dtype.name for a in (*inputs, *expected)]
    rtol = max([test.rtol, *(relative.get(k, 0) for k in kinds)]) if half else test.rtol
    return Prepared(
        model.SerializeToString(), tuple(data), tuple(wanted), (rtol, max(test.atol, 1e-3 if half else 0))
    )


def _parameter_names(model: Any, operator: str) -> set[str]:
    names: set[str] = set()
    for node in model.graph.node:
        if node.op_type == operator:
            places = PARAMETERS.get(operator, ())
            names.update(node.input[p] for p in places if p < len(node.input) and node.input[p])
    return names


def _array(item: Any) -> Array:
    return numpy_helper.to_array(item) if isinstance(item, onnx.TensorProto) else np.asarray(item)


def _interface(array: Array) -> Array:
    """bfloat16 enters and leaves as float32: numpy has no such type."""
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def joined(programs: Sequence[Program]) -> Program:
    """One program with a function for each, `test_0`, `test_1` …"""
    tensors: dict[str, Tensor] = {}
    functions: dict[str, Function] = {}
    for index, program in enumerate(programs):
        names = {name: f"t{index}/{name}" for name in program.tensors}
        for name, tensor in program.tensors.items():
            tensors[names[name]] = Tensor(
                names[name], tensor.shape, tensor.dtype, tensor.quantization, tensor.value
            )
        body = program.function()
        operations: tuple[Operation, ...] = tuple(op.renamed(names) for op in body.operations)
        functions[f"test_{index}"] = Function(
            f"test_{index}",
            tuple(names[n] for n in body.inputs),
            tuple(names[n] for n in body.outputs),
            operations,
        )
    return Program(functions, tensors, ())


def outcomes(chosen: Sequence[Case], target: str = "x86-64", optimise: str = "-O3") -> dict[str, str]:
    """By test name: "" where it passes, else what went wrong.

    optimise: how hard the C compiler works; -O3 is what `lepton compile` asks for.
    """
    from lepton_compilers.backends.cpu.codegen import toolchain
    from lepton_compilers.front import program_from

    found: dict[str, str] = {}
    held: list[tuple[Case, Prepared, Program]] = []
    for case in chosen:
        try:
            with _within(SECONDS_A_TEST):
                ready = prepared(case)
                held.append((case, ready, program_from(ready.content)))
        except LeptonError as error:
            found[case.name] = "refused: " + " | ".join(str(error).splitlines()[:2])
        except TimeoutError:
            found[case.name] = f"importing takes more than {SECONDS_A_TEST} s"
        except Exception as error:  # a defect of the importer, to be told apart from a refusal
            found[case.name] = f"import error: {type(error).__name__}: {str(error).strip().splitlines()[-1:]}"
    flags = toolchain.FLAGS
    toolchain.FLAGS = tuple(optimise if flag == "-O3" else flag for flag in flags)
    try:
        return found | _run(held, target)
    finally:
        toolchain.FLAGS = flags


def _run(held: Sequence[tuple[Case, Prepared, Program]], target: str) -> dict[str, str]:
    """Compile together and run one by one; a set that can't be compiled is halved."""
    from lepton_compilers.backends import backend_for
    from lepton_targets import get_target
    from support.native import Native

    if not held:
        return {}
    row = get_target(target)
    try:
        program = joined([p for _, _, p in held])
        native = Native(program, backend_for(row).lower(program, row))
    except Exception as error:
        if len(held) == 1:
            return {
                held[0][0].name: f"compile: {type(error).__name__}: "
                + " | ".join(str(error).splitlines()[:3])
            }
        half = len(held) // 2
        return _run(held[:half], target) | _run(held[half:], target)
    found = {}
    for index, (case, ready, _) in enumerate(held):
        try:
            with _within(SECONDS_A_TEST):
                found[case.name] = difference(native, f"test_{index}", ready)
        except TimeoutError:
            found[case.name] = f"running takes more than {SECONDS_A_TEST} s"
        except Exception as error:
            found[case.name] = f"run: {type(error).__name__}: {str(error).strip().splitlines()[:1]}"
    return found


def difference(native: Any, function: str, ready: Prepared) -> str:
    """How the native outputs, else the reference executor's differ from ONNX's; "" where neither does."""
    from lepton_sdk.program.reference import Reference

    results = native.run(ready.inputs, function)
    ready = dataclasses.replace(ready, expected=tuple(map(_filled, ready.expected, results)))
    said = _compared(results, ready.expected, ready.tolerance)
    if said:
        return said
    reference = Reference(native.program).run(ready.inputs, function)
    said = _compared(reference, ready.expected, ready.tolerance)
    return f"reference: {said}" if said else ""


def _filled(expected: Array, result: Array) -> Array:
    """Rows of −1 behind those that NonMaxSuppression chose, which it gives as many as there can be."""
    rows = len(result) - len(expected) if expected.ndim == 2 and expected.dtype == np.int64 else 0
    if expected.shape[1:] != (3,) or rows < 1:
        return expected
    return np.concatenate([expected, np.full((rows, 3), -1, np.int64)])


def _compared(results: Sequence[Array], expected: Sequence[Array], tolerance: tuple[float, float]) -> str:
    for place, (y, wanted) in enumerate(zip(results, expected, strict=True)):
        if y.shape != wanted.shape or y.dtype != wanted.dtype:
            return f"output {place} is {y.dtype} {y.shape}, {wanted.dtype} {wanted.shape} is expected"
        if y.dtype == bool:
            if (y != wanted).any():
                return f"output {place} differs in {int((y != wanted).sum())} of {y.size}"
            continue
        a, b = y.astype(np.float64), wanted.astype(np.float64)
        close = np.isclose(a, b, rtol=tolerance[0], atol=tolerance[1], equal_nan=True)
        if not close.all():
            worst = np.nanmax(np.abs(np.where(close, 0, a - b)))
            return f"output {place} differs in {int((~close).sum())} of {y.size}, by up to {worst:.3g}"
    return ""


class _within:
    """Raises TimeoutError in the block after so many seconds."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def __enter__(self) -> None:
        signal.signal(signal.SIGALRM, self._late)
        signal.alarm(self.seconds)

    def __exit__(self, *_: object) -> None:
        signal.alarm(0)

    @staticmethod
    def _late(*_: object) -> None:
        raise TimeoutError


def outcomes_apart(chosen: Sequence[Case]) -> Iterator[dict[str, str]]:
    """`outcomes` in processes of their own, a set at a time: what crashes is told, and the rest goes on.

    The C compiler optimises little: at -O3 it would take most of the time.
    """
    context = multiprocessing.get_context("fork")
    for start in range(0, len(chosen), TESTS_A_COMPILATION):
        part = list(chosen[start : start + TESTS_A_COMPILATION])
        yield _apart(context, part)


def _apart(context: Any, part: list[Case]) -> dict[str, str]:
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=lambda: theirs.send(outcomes(part, optimise="-O1")))
    process.start()
    theirs.close()
    try:
        found: dict[str, str] = ours.recv()
    except EOFError:
        process.join()
        if len(part) == 1:
            return {part[0].name: f"the process ended with {process.exitcode}"}
        half = len(part) // 2
        return _apart(context, part[:half]) | _apart(context, part[half:])
    process.join()
    return found
