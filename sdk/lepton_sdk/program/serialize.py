"""The deterministic bytes of a program: a canonical-JSON table, then every constant, 64-byte aligned.

Layout: magic `LPRG`, u32 version, u64 length of the table, the table, zeros to 64 bytes, the constants.
"""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from lepton_sdk.program.detection import DETECTION_OPERATIONS
from lepton_sdk.program.float_kernel import FloatKernel
from lepton_sdk.program.operations import INFERENCE_OPERATIONS, Operation
from lepton_sdk.program.operations_int16 import INT16_OPERATIONS
from lepton_sdk.program.program import Function, Program, Variable
from lepton_sdk.program.recurrent import RECURRENT_OPERATIONS
from lepton_sdk.program.sequence import SEQUENCE_OPERATIONS
from lepton_sdk.program.state import Assign
from lepton_sdk.program.tensors import DTYPES, Clamp, Padding, Quantization, Tensor
from lepton_sdk.program.training import TRAINING_OPERATIONS
from lepton_sdk.program.uint8 import ByteTable
from lepton_sdk.program.vision import VISION_OPERATIONS
from lepton_targets.errors import BundleFormatError, LeptonError, NewerFormatError

MAGIC = b"LPRG"
VERSION = 1
ALIGNMENT = 64
_HEADER = struct.Struct("<4sIQ")
OPERATIONS: Mapping[str, type[Operation]] = {
    kind.__name__: kind
    for kind in (
        *INFERENCE_OPERATIONS,
        *INT16_OPERATIONS,
        *VISION_OPERATIONS,
        *DETECTION_OPERATIONS,
        *SEQUENCE_OPERATIONS,
        *RECURRENT_OPERATIONS,
        Assign,
        ByteTable,
        *TRAINING_OPERATIONS,
        FloatKernel,
    )
}


def dump(program: Program) -> bytes:
    """The bytes of a program; equal programs give equal bytes in every process."""
    blob = bytearray()
    tensors = []
    for tensor in program.tensors.values():
        entry: dict[str, Any] = {"name": tensor.name, "shape": list(tensor.shape), "dtype": tensor.dtype}
        if tensor.quantization is not None:
            q = tensor.quantization
            entry["quantization"] = {"scales": list(q.scales), "zero_point": q.zero_point, "axis": q.axis}
        if tensor.value is not None:
            blob.extend(bytes(-len(blob) % ALIGNMENT))
            entry["offset"] = len(blob)
            blob.extend(np.ascontiguousarray(tensor.value).tobytes())
        tensors.append(entry)
    table = {
        "functions": [
            {
                "name": f.name,
                "inputs": list(f.inputs),
                "outputs": list(f.outputs),
                "operations": [_operation_entry(op) for op in f.operations],
            }
            for f in program.functions.values()
        ],
        "tensors": tensors,
        "variables": [dataclasses.asdict(variable) for variable in program.variables],
    }
    text = json.dumps(
        table, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()
    head = _HEADER.pack(MAGIC, VERSION, len(text)) + text
    return head + bytes(-len(head) % ALIGNMENT) + bytes(blob)


def load(content: bytes | memoryview) -> Program:
    """The program of `dump`; constants are read-only views of `content`.

    Raises BundleFormatError for anything that is not such bytes, NewerFormatError for a newer version.
    """
    if len(content) < _HEADER.size:
        raise BundleFormatError(f"a program of {len(content)} bytes is shorter than its header")
    magic, version, length = _HEADER.unpack_from(content)
    if magic != MAGIC:
        raise BundleFormatError(f"a program starts with {MAGIC!r}, found {bytes(magic)!r}")
    if version != VERSION:
        raise NewerFormatError(f"the program has version {version}; this one reads {VERSION}")
    if _HEADER.size + length > len(content):
        raise BundleFormatError(
            f"the program's table of {length} bytes reaches beyond its {len(content)} bytes"
        )
    try:
        table = json.loads(bytes(content[_HEADER.size : _HEADER.size + length]))
        start = -(-(_HEADER.size + length) // ALIGNMENT) * ALIGNMENT
        return _program(table, memoryview(content)[start:])
    except LeptonError:
        raise
    except (
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise BundleFormatError(
            f"the program's table is malformed: {type(error).__name__}: {error}"
        ) from error


def _operation_entry(op: Operation) -> dict[str, Any]:
    fields = {f.name: _encoded(getattr(op, f.name)) for f in dataclasses.fields(op)}
    return {"operation": type(op).__name__, **{k: v for k, v in fields.items() if v is not None}}


def _encoded(value: Any) -> Any:
    if isinstance(value, Padding):
        return [value.top, value.bottom, value.left, value.right]
    if isinstance(value, Clamp):
        return [value.low, value.high]
    return list(value) if isinstance(value, tuple) else value


def _operation(entry: Mapping[str, Any]) -> Operation:
    name = entry["operation"]
    if name not in OPERATIONS:
        raise BundleFormatError(
            f"the program has an unknown operation '{name}'; known: {', '.join(OPERATIONS)}"
        )
    kind = OPERATIONS[name]
    fields = {}
    for field in dataclasses.fields(kind):
        value = entry.get(field.name)
        if value is None and field.default is not dataclasses.MISSING:
            continue
        fields[field.name] = _decoded(str(field.type), value, f"{name}.{field.name}")
    return kind(**fields)


def _decoded(annotation: str, value: Any, where: str) -> Any:
    """A field's value from JSON, by its annotation; BundleFormatError when it is of another kind."""
    if value is None:
        if annotation.endswith("| None"):
            return None
        raise BundleFormatError(f"{where} is missing")
    kind = annotation.removesuffix(" | None")
    if kind in ("TensorId", "str") and isinstance(value, str):
        return value
    if kind == "int" and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "float" and isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    if kind == "tuple[TensorId, ...]" and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    if isinstance(value, list) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value):
        if kind == "Clamp" and len(value) == 2:
            return Clamp(*value)
        if all(isinstance(v, int) for v in value):
            if kind == "Padding" and len(value) == 4:
                return Padding(*value)
            if kind == "tuple[int, ...]" or (kind == "tuple[int, int]" and len(value) == 2):
                return tuple(value)
    raise BundleFormatError(f"{where} is {value!r}, no {kind}")


def _program(table: Mapping[str, Any], blob: memoryview) -> Program:
    tensors = {entry["name"]: _tensor(entry, blob) for entry in table["tensors"]}
    functions = {
        entry["name"]: Function(
            entry["name"],
            tuple(entry["inputs"]),
            tuple(entry["outputs"]),
            tuple(_operation(op) for op in entry["operations"]),
        )
        for entry in table["functions"]
    }
    variables = tuple(
        Variable(
            entry["tensor"],
            bool(entry["trainable"]),
            entry["source_name"],
            tuple(entry["source_axes"]) if entry["source_axes"] is not None else None,
            tuple(entry["source_shape"]) if entry["source_shape"] is not None else None,
        )
        for entry in table["variables"]
    )
    return Program(functions, tensors, variables)


def _tensor(entry: Mapping[str, Any], blob: memoryview) -> Tensor:
    name, shape, dtype = entry["name"], tuple(entry["shape"]), entry["dtype"]
    if dtype not in DTYPES or not all(isinstance(n, int) and n > 0 for n in shape):
        raise BundleFormatError(f"tensor '{name}' is malformed: {dtype} {shape}")
    quantization = None
    if (q := entry.get("quantization")) is not None:
        quantization = Quantization(tuple(float(s) for s in q["scales"]), int(q["zero_point"]), q["axis"])
    value = None
    if (offset := entry.get("offset")) is not None:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if not isinstance(offset, int) or offset < 0 or offset + size > len(blob):
            raise BundleFormatError(
                f"tensor '{name}' lies at {offset} … {offset + size} of {len(blob)} bytes"
            )
        value = np.frombuffer(blob[offset : offset + size], dtype).reshape(shape)
    return Tensor(name, shape, dtype, quantization, value)
