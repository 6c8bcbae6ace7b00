"""Damaged model files: made from whole ones, examined in a process of their own.

A child examines a run of mutants and tells each step on its standard output, so that a crash or a hang is
known by the mutant and by who ran: ours, or the oracle (LiteRT ends a process on files it trusts).
"""

from __future__ import annotations

import json
import queue
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

LARGEST_RUN_MACS = 20_000_000
LARGEST_RUN_BYTES = 64 << 20
INTERESTING = (0, 1, 2, 7, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1)
HANGS_AFTER_S = 120.0


@dataclass(frozen=True)
class Finding:
    """What became of one mutant: `refused`, `right`, `wrong`, `unjudged`, `crashed` or `hung`, and how."""

    seed: int
    verdict: str
    detail: str


def mutated(content: bytes, seed: int) -> bytes:
    """A damaged copy: bytes changed, numbers overwritten, pieces cut, doubled, swapped, or the end gone."""
    rng = np.random.default_rng(seed)
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(0, len(data)))
        span = int(rng.integers(1, 33))
        match int(rng.integers(0, 8)):
            case 0 | 1:
                data[at] = int(rng.integers(0, 256))
            case 2:
                data[at] ^= 1 << int(rng.integers(0, 8))
            case 3 | 4:
                number = INTERESTING[int(rng.integers(0, len(INTERESTING)))]
                width = int(rng.choice([1, 2, 4]))
                at -= at % width
                data[at : at + width] = number.to_bytes(8, "little")[:width]
            case 5:
                del data[at : at + span]
            case 6:
                data[at:at] = data[max(at - span, 0) : at]
            case _:
                data = data[: max(at, 1)] if rng.random() < 0.3 else data
                other = int(rng.integers(0, len(data)))
                data[other : other + span] = data[at : at + span]
        if not data:
            data = bytearray(b"\0")
    return bytes(data)


def restructured(content: bytes, seed: int) -> bytes:
    """A copy that parses, with a few fields changed: extents, indices, scales, attributes, operators."""
    rng = np.random.default_rng(seed)
    return _tflite_restructured(content, rng) if content[4:8] == b"TFL3" else _onnx_restructured(content, rng)


def mutant(content: bytes, seed: int) -> bytes:
    """Every other seed changes bytes, the others fields; fields that can't be written leave it at bytes."""
    if seed % 2 == 0:
        return mutated(content, seed)
    try:
        return restructured(content, seed)
    except (ValueError, TypeError, OverflowError, AttributeError, struct.error):
        return mutated(content, seed)


def _tflite_restructured(content: bytes, rng: np.random.Generator) -> bytes:
    from support.tflite_cut import packed, unpacked

    model = unpacked(content)
    graph = model.subgraphs[0]

    def pick(items: Any) -> Any:
        return items[int(rng.integers(0, len(items)))]

    for _ in range(int(rng.integers(1, 4))):
        tensor, operator = pick(graph.tensors), pick(graph.operators)
        match int(rng.integers(0, 9)):
            case 0 if tensor.shape is not None and len(tensor.shape):
                shape = np.array(tensor.shape)
                shape[int(rng.integers(0, len(shape)))] = int(rng.choice([0, 1, 2, 3, 17, 1000, -1, 2**30]))
                tensor.shape = shape
            case 1:
                tensor.type = int(rng.integers(0, 18))
            case 2 if tensor.quantization is not None and tensor.quantization.scale is not None:
                scale = np.array(tensor.quantization.scale)
                scale[int(rng.integers(0, len(scale)))] = float(rng.choice([0, -1, 1e-30, 1e30, np.nan, 0.5]))
                tensor.quantization.scale = scale
            case 3 if tensor.quantization is not None and tensor.quantization.zeroPoint is not None:
                tensor.quantization.zeroPoint = np.array(tensor.quantization.zeroPoint) + int(
                    rng.choice([1, -1, 128, 1000])
                )
            case 4:
                inputs = np.array(operator.inputs)
                inputs[int(rng.integers(0, len(inputs)))] = int(rng.integers(-2, len(graph.tensors) + 2))
                operator.inputs = inputs
            case 5:
                code, number = pick(model.operatorCodes), int(rng.integers(0, 160))
                code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
            case 6:
                tensor.buffer = int(rng.integers(0, len(model.buffers) + 1))
            case 7:
                fields = [
                    k for k, v in vars(operator.builtinOptions or object()).items() if isinstance(v, int)
                ]
                if fields:
                    setattr(
                        operator.builtinOptions, pick(sorted(fields)), int(rng.choice([0, 1, 2, 3, 5, 100]))
                    )
            case _:
                graph.operators.remove(operator)
                if not graph.operators:
                    break
    return packed(model)


def _onnx_restructured(content: bytes, rng: np.random.Generator) -> bytes:
    import onnx

    model = onnx.load_model_from_string(content)
    graph = model.graph
    names = [n for node in graph.node for n in (*node.input, *node.output) if n]
    operators = sorted(s.name for s in onnx.defs.get_all_schemas() if s.domain == "")

    def pick(items: Any) -> Any:
        return items[int(rng.integers(0, len(items)))]

    for _ in range(int(rng.integers(1, 4))):
        node = pick(graph.node)
        match int(rng.integers(0, 9)):
            case 0 if node.attribute:
                attribute = pick(node.attribute)
                attribute.i = int(rng.choice([0, 1, -1, 2, 5, 1000]))
                if attribute.ints:
                    place = int(rng.integers(0, len(attribute.ints)))
                    attribute.ints[place] = int(rng.choice([0, 1, -1, 2, 3, 100000]))
            case 1 if node.input:
                node.input[int(rng.integers(0, len(node.input)))] = pick(names)
            case 2:
                node.op_type = pick(operators)
            case 3 if graph.initializer:
                initializer = pick(graph.initializer)
                if initializer.dims:
                    place = int(rng.integers(0, len(initializer.dims)))
                    initializer.dims[place] = int(rng.choice([0, 1, 2, 3, 1000, 2**40]))
            case 4 if graph.initializer:
                pick(graph.initializer).data_type = int(rng.integers(0, 24))
            case 5:
                dims = pick(graph.input).type.tensor_type.shape.dim
                if dims:
                    pick(dims).dim_value = int(rng.choice([0, 1, 2, 5, 17, 2**33]))
            case 6:
                # At 9 to 13 the oracle takes batch normalisation for training.
                model.opset_import[0].version = int(rng.choice([0, 1, 6, 14, 15, 16, 18, 21, 40]))
            case 7 if node.output:
                node.output[0] = pick(names)
            case _ if len(graph.node) > 1:
                graph.node.remove(node)
            case _:
                node.name = ""
    return bytes(model.SerializeToString())


def examine(content: bytes, tell: Any) -> tuple[str, str]:
    """Verdict and detail on one model file. tell: called with `oracle` before the oracle runs."""
    from lepton_compilers.front import program_from
    from lepton_sdk.program.reference import Reference
    from lepton_targets.errors import LeptonError

    try:
        program = program_from(content)
        if program.macs() > LARGEST_RUN_MACS:
            return "unjudged", "too much work"
        if sum(t.nbytes for t in program.tensors.values()) > LARGEST_RUN_BYTES:
            return "unjudged", "too large"
        inputs = [_example(program.tensors[name]) for name in program.function().inputs]
        found = Reference(program).run(inputs)
    except LeptonError as error:
        return "refused", str(error).splitlines()[0]
    except Exception:
        return "crashed", traceback.format_exc(limit=-4)
    tell("oracle")
    try:
        expected = _oracle(content, inputs)
    except Exception as error:
        return "unjudged", f"the oracle refuses it: {type(error).__name__}"
    tell("ours")
    verdict, detail = _compared(found, expected, _steps(program))
    if verdict == "wrong" and content[4:8] == b"TFL3" and _scales_contradict(content):
        return "unjudged", "scales that LiteRT does not look at: of a bias, or around an average pool"
    return verdict, detail


def _example(tensor: Any) -> Array:
    rng = np.random.default_rng(7)
    if tensor.dtype.startswith("float"):
        return np.asarray(rng.normal(size=tensor.shape), tensor.dtype)
    return np.asarray(rng.integers(0, 2 if tensor.dtype == "bool" else 100, tensor.shape), tensor.dtype)


def _oracle(content: bytes, inputs: list[Array]) -> list[Array]:
    if content[4:8] == b"TFL3":
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
        for detail, x in zip(interpreter.get_input_details(), inputs, strict=True):
            interpreter.set_tensor(detail["index"], x)
        interpreter.invoke()
        return [np.array(interpreter.get_tensor(d["index"])) for d in interpreter.get_output_details()]
    import onnx
    from onnx.reference import ReferenceEvaluator

    model = onnx.load_model_from_string(content)
    initial = {i.name for i in model.graph.initializer}
    names = [i.name for i in model.graph.input if i.name not in initial]
    answers = ReferenceEvaluator(model).run(None, dict(zip(names, inputs, strict=True)))
    return [np.asarray(answer) for answer in answers]


def _scales_contradict(content: bytes) -> bool:
    """Whether a bias is at another scale than its layer's, or an average pool changes its numbers."""
    from ai_edge_litert import schema_py_generated as schema

    from support.tflite_cut import opcode, unpacked

    model = unpacked(content)
    graph = model.subgraphs[0]
    for operator in graph.operators:
        held = [graph.tensors[i] for i in operator.inputs if i >= 0]
        scales = [None if t.quantization is None else t.quantization.scale for t in held]
        if opcode(model, operator) == schema.BuiltinOperator.AVERAGE_POOL_2D:
            ends = (held[0].quantization, graph.tensors[operator.outputs[0]].quantization)
            if any(
                not np.array_equal(getattr(ends[0], n), getattr(ends[1], n)) for n in ("scale", "zeroPoint")
            ):
                return True
        if len(held) == 3 and all(s is not None and len(s) for s in scales):
            wanted = np.asarray(scales[0]) * np.asarray(scales[1])
            if not np.allclose(wanted, scales[2], rtol=1e-3):
                return True
    return False


def _steps(program: Any) -> list[float]:
    """One step of each float output that stands for integers; 0 for others."""
    from lepton_sdk.program.operations import Dequantize

    scales = {
        op.y: float(program.tensors[op.x].scale)
        for op in program.function().operations
        if isinstance(op, Dequantize)
    }
    return [scales.get(name, 0.0) for name in program.function().outputs]


def _compared(found: list[Array], expected: list[Array], steps: list[float]) -> tuple[str, str]:
    if [a.shape for a in found] != [a.shape for a in expected]:
        return "wrong", f"shapes {[a.shape for a in found]}, the oracle's {[a.shape for a in expected]}"
    for a, b, step in zip(found, expected, steps, strict=True):
        if a.dtype.kind != "f":
            off = int(np.abs(a.astype(np.int64) - b.astype(np.int64)).max(initial=0))
            if off > 1:
                return "wrong", f"{off} steps from the oracle"
            continue
        if not np.isfinite(b).all() or np.abs(b).max(initial=0) > 1e15:
            return "unjudged", "numbers beyond sense"
        allowed = max(1.01 * step, 1e-4 * max(1.0, float(np.abs(b).max(initial=0))))
        if not np.allclose(a, b, rtol=1e-3, atol=allowed):
            return "wrong", f"{float(np.abs(a - b).max()):.3g} from the oracle"
    return "right", ""


def findings(model: Path, seeds: range) -> Iterator[Finding]:
    """What becomes of the mutants of a model file, a child process at a time; a lost one is started anew."""
    at = seeds.start
    while at < seeds.stop:
        for finding in _child(model, range(at, seeds.stop)):
            at = finding.seed + 1
            yield finding


def _child(model: Path, seeds: range) -> Iterator[Finding]:
    command = [sys.executable, "-m", "support.mutants", str(model), str(seeds.start), str(seeds.stop)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=Path(__file__).parents[1]
    )
    assert process.stdout is not None
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    running, who = seeds.start, "ours"
    try:
        while running < seeds.stop:
            try:
                line = lines.get(timeout=HANGS_AFTER_S)
            except queue.Empty:
                yield Finding(running, "unjudged" if who == "oracle" else "hung", f"no answer ({who})")
                return
            if line is None:
                verdict = "unjudged" if who == "oracle" else "crashed"
                yield Finding(running, verdict, f"the process ended with {process.wait()} ({who})")
                return
            said = json.loads(line)
            if "who" in said:
                who = said["who"]
                continue
            yield Finding(running, said["verdict"], said["detail"])
            running, who = running + 1, "ours"
    finally:
        process.kill()
        process.wait()


def _main(model: str, start: str, stop: str) -> None:
    content = Path(model).read_bytes()
    out = sys.stdout
    # What libraries print must not mix with the lines.
    sys.stdout = sys.stderr

    def say(**words: str) -> None:
        out.write(json.dumps(words) + "\n")
        out.flush()

    for seed in range(int(start), int(stop)):
        verdict, detail = examine(mutant(content, seed), lambda who: say(who=who))
        say(verdict=verdict, detail=detail)


if __name__ == "__main__":
    _main(*sys.argv[1:])
