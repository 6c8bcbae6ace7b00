"""What a bundle's bytes are: immutable typed values, one field for each key of the manifest's JSON.

They are Records, for a device makes them at every start.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from lepton_sdk.bundle import format as layout
from lepton_targets.record import Record

ITEM_BYTES = {
    "bool": 1,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "uint16": 2,
    "int32": 4,
    "uint32": 4,
    "float32": 4,
    "int64": 8,
    "uint64": 8,
    "float64": 8,
}
KINDS = ("float32", "int8", "int8x16", "mixed")
SOURCE_FORMATS = ("onnx", "tflite", "torch")


class FormatVersion(Record):
    """Version of the file format: a newer minor is readable, a newer major is not."""

    major: int = layout.MAJOR
    minor: int = layout.MINOR


class Quantization(Record):
    """real = scale · (integer − zero_point); one scale, or one a channel along `axis`."""

    scales: tuple[float, ...]
    zero_point: int = 0
    axis: int | None = None


class TensorSpec(Record):
    """An input or output of a function: a dense array in C order.

    tolerance: largest absolute difference allowed in a float output; None where bytes must be equal.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None = None
    tolerance: float | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{','.join(map(str, self.shape))}]"


class FunctionInterface(Record):
    """What a function takes and gives, in the order of its arguments."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class VariableSpec(Record):
    """A tensor that lives between calls.

    `transpose(value, source_axes).reshape(source_shape)` is the source model's parameter `source_name`; what
    is None changes nothing.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    trainable: bool
    source_name: str | None = None
    source_axes: tuple[int, ...] | None = None
    source_shape: tuple[int, ...] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


class ModelSource(Record):
    """The file that was compiled: equal hashes pair a model's float, trainable and int8 bundles."""

    source_format: str
    source_sha256: str


class Provenance(Record):
    """What made the bundle; never a path, a key or a time. options: plain JSON values."""

    compiler: str
    tvm: str
    options: Mapping[str, Any]


class EntryPoint(Record):
    """A compiled function: the exported symbol and the working memory it wants, 64-byte aligned."""

    symbol: str
    arena_bytes: int


class VariableBlock(Record):
    """All variables in one block: the segment with the first values, and each variable's offset in it."""

    segment: str
    bytes: int
    offsets: Mapping[str, int]


class Artifact(Record):
    """Machine code for one target: segments by name, functions by name."""

    target: str
    code: str
    weights: str | None
    functions: Mapping[str, EntryPoint]
    variables: VariableBlock | None = None

    @property
    def segments(self) -> tuple[str, ...]:
        """Names of the segments this artifact needs."""
        names = (self.code, self.weights, self.variables.segment if self.variables else None)
        return tuple(name for name in names if name is not None)


def steps_segment(target: str) -> str:
    """Name of the segment that says what a target's code does step by step; not every bundle has it.

    Found by its name, as the Program is: readers that do not know it pass over it.
    """
    return f"steps.{target}"


class GoldenRecord(Record):
    """Where one golden vector stands: (offset, bytes) inside `segment`, for every input and output."""

    function: str
    segment: str
    inputs: Mapping[str, tuple[int, int]]
    outputs: Mapping[str, tuple[int, int]]


class Segment(Record):
    """A run of bytes: offset from the full file's start, length, SHA-256."""

    name: str
    offset: int
    bytes: int
    sha256: str


class Manifest(Record):
    """Everything a bundle says about itself. Its JSON bytes are what is signed."""

    name: str
    kind: str
    model: ModelSource
    provenance: Provenance
    functions: Mapping[str, FunctionInterface]
    artifacts: tuple[Artifact, ...]
    golden: tuple[GoldenRecord, ...] = ()
    variables: tuple[VariableSpec, ...] = ()
    labels: tuple[str, ...] | None = None
    reference: bool = True
    arithmetic: int = layout.ARITHMETIC
    format: FormatVersion = FormatVersion()
    segments: tuple[Segment, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """Targets the bundle has machine code for."""
        return tuple(artifact.target for artifact in self.artifacts)

    def precision(self, target: str) -> str | None:
        """How a target's code multiplies float32, `float32` or `bf16`; None where that was not asked for."""
        by_target = self.provenance.options.get("precision")
        found = by_target.get(target) if isinstance(by_target, Mapping) else None
        return found if isinstance(found, str) else None

    def to_json(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces, UTF-8, floats by repr. Raises ValueError for NaN."""
        return canonical_json(_plain(self))


def canonical_json(value: Any) -> bytes:
    """The one JSON form of a value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        value = value.as_dict()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
