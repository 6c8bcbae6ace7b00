"""Reads a manifest strictly: every field has its type and range, or the error says where and what was found.

Keys that this version does not know are refused, unless the manifest is of a newer minor version, which may
add keys that an older reader can do without.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from lepton_sdk.bundle import format as layout
from lepton_sdk.bundle.digest import is_hex
from lepton_sdk.bundle.manifest import (
    ITEM_BYTES,
    KINDS,
    SOURCE_FORMATS,
    Artifact,
    EntryPoint,
    FormatVersion,
    FunctionInterface,
    GoldenRecord,
    Manifest,
    ModelSource,
    Provenance,
    Quantization,
    Segment,
    TensorSpec,
    VariableBlock,
    VariableSpec,
)
from lepton_targets.errors import BundleFormatError, NewerFormatError
from lepton_targets.record import Record

T = TypeVar("T")

_LARGEST = (1 << 63) - 1
_LARGEST_FLOAT = 3.4028234663852886e38


def parse_json(content: bytes, where: str) -> Any:
    """A JSON value without duplicate keys, NaN or infinity. Raises BundleFormatError."""
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BundleFormatError(f"the bundle's {where} is not valid JSON: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return values


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not a number that a manifest may hold")


class Fields:
    """One JSON object, read field by field; `where` is its place in the document, for errors."""

    __slots__ = ("_values", "_where", "tolerant")

    def __init__(self, value: Any, where: str, known: type[Record] | None, tolerant: bool) -> None:
        if not isinstance(value, dict):
            raise BundleFormatError(f"the manifest's {where} is {_shown(value)}; an object is expected")
        if known is not None and not tolerant and (unknown := set(value) - set(known.fields())):
            raise BundleFormatError(f"the manifest's {where} has the unknown key '{min(unknown)}'")
        self._values: dict[str, Any] = value
        self._where = where
        self.tolerant = tolerant

    def wrong(self, name: str, expected: str) -> BundleFormatError:
        """The error for a field that is not what is expected."""
        if name not in self._values:
            return BundleFormatError(f"the manifest's {self._where} lacks '{name}' ({expected})")
        return BundleFormatError(
            f"the manifest's {self._where}.{name} is {_shown(self._values[name])}; {expected} is expected"
        )

    def is_null(self, name: str) -> bool:
        """Whether the field stands there as null; a missing field is an error."""
        if name not in self._values:
            raise self.wrong(name, "a value or null")
        return self._values[name] is None

    def text(self, name: str) -> str:
        """A non-empty string without control characters."""
        value = self._values.get(name)
        if not isinstance(value, str) or not _printable(value):
            raise self.wrong(name, "text of 1 to 512 printable characters")
        return value

    def matching(self, name: str, accept: Callable[[str], bool], expected: str) -> str:
        """A string of that form."""
        value = self.text(name)
        if not accept(value):
            raise self.wrong(name, expected)
        return value

    def choice(self, name: str, accepted: tuple[str, ...]) -> str:
        """One of the accepted strings."""
        value = self.text(name)
        if value not in accepted:
            raise self.wrong(name, " or ".join(accepted))
        return value

    def integer(self, name: str, low: int, high: int) -> int:
        """An integer within bounds."""
        value = self._values.get(name)
        if type(value) is not int or not low <= value <= high:
            raise self.wrong(name, f"an integer from {low} to {high}")
        return value

    def number(self, name: str) -> float:
        """A finite number that is not negative."""
        value: Any = self._values.get(name)
        if not _is_finite(value) or value < 0:
            raise self.wrong(name, "a finite number ≥ 0")
        return float(value)

    def boolean(self, name: str) -> bool:
        """true or false."""
        value = self._values.get(name)
        if type(value) is not bool:
            raise self.wrong(name, "true or false")
        return value

    def integers(self, name: str, low: int, high: int, count: int = layout.RANK_LIMIT) -> tuple[int, ...]:
        """A list of at most `count` integers within bounds."""
        return tuple(
            self._list(
                name, count, lambda v: type(v) is int and low <= v <= high, f"integers from {low} to {high}"
            )
        )

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        return tuple(
            self._list(name, layout.COUNT_LIMIT, lambda v: isinstance(v, str) and _printable(v), "texts")
        )

    def scales(self, name: str) -> tuple[float, ...]:
        """A list of finite positive numbers."""
        numbers = self._list(
            name,
            layout.COUNT_LIMIT,
            lambda v: _is_finite(v) and v > 0,
            "one or more finite numbers > 0",
        )
        if not numbers:
            raise self.wrong(name, "one or more finite numbers > 0")
        return tuple(float(number) for number in numbers)

    def plain(self, name: str) -> Mapping[str, Any]:
        """An object of any JSON values."""
        value = self._values.get(name)
        if not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return value

    def one(self, name: str, kind: type[Record], parse: Callable[[Fields], T]) -> T:
        """An object of that kind."""
        if name not in self._values:
            raise self.wrong(name, "an object")
        return parse(Fields(self._values[name], f"{self._where}.{name}", kind, self.tolerant))

    def many(self, name: str, kind: type[Record], parse: Callable[[Fields], T]) -> tuple[T, ...]:
        """A list of objects of that kind."""
        values = self._list(name, layout.COUNT_LIMIT, lambda v: True, "objects")
        return tuple(
            parse(Fields(value, f"{self._where}.{name}[{i}]", kind, self.tolerant))
            for i, value in enumerate(values)
        )

    def named(self, name: str, kind: type[Record], parse: Callable[[Fields], T]) -> dict[str, T]:
        """An object of objects of that kind, by name."""
        return {
            key: parse(Fields(value, f"{self._where}.{name}.{key}", kind, self.tolerant))
            for key, value in self._named(name).items()
        }

    def ranges(self, name: str) -> dict[str, tuple[int, int]]:
        """An object of [offset, bytes] pairs, by name."""
        entries = {}
        for key, value in self._named(name).items():
            if not (
                isinstance(value, list) and len(value) == 2 and all(_is_size(number) for number in value)
            ):
                raise self.wrong(name, f"[offset, bytes] for '{key}'")
            entries[key] = (value[0], value[1])
        return entries

    def sizes(self, name: str) -> dict[str, int]:
        """An object of integers ≥ 0, by name."""
        values = self._named(name)
        if not all(_is_size(value) for value in values.values()):
            raise self.wrong(name, "an object of integers ≥ 0")
        return values

    def _list(self, name: str, count: int, accept: Callable[[Any], bool], expected: str) -> list[Any]:
        value = self._values.get(name)
        if not isinstance(value, list) or len(value) > count or not all(accept(item) for item in value):
            raise self.wrong(name, f"a list of at most {count} {expected}")
        return value

    def _named(self, name: str) -> dict[str, Any]:
        value = self._values.get(name)
        if not isinstance(value, dict) or len(value) > layout.COUNT_LIMIT or not all(map(_printable, value)):
            raise self.wrong(name, "an object by name")
        return value


def parse_manifest(content: bytes) -> Manifest:
    """The manifest that these bytes spell. Raises BundleFormatError or NewerFormatError."""
    document = parse_json(content, "manifest")
    opening = Fields(document, "root", None, True)
    version = opening.one(
        "format",
        FormatVersion,
        lambda f: FormatVersion(f.integer("major", 0, 65535), f.integer("minor", 0, 65535)),
    )
    if version.major != layout.MAJOR:
        raise NewerFormatError(
            f"the manifest has format {version.major}.{version.minor}; this version reads {layout.MAJOR}.x"
        )
    root = Fields(document, "root", Manifest, tolerant=version.minor > layout.MINOR)
    if (arithmetic := root.integer("arithmetic", 1, 65535)) > layout.ARITHMETIC:
        raise NewerFormatError(
            f"the bundle computes by arithmetic {arithmetic}; this version knows up to {layout.ARITHMETIC}",
            "update lepton-edge on this device",
        )
    return Manifest(
        name=root.text("name"),
        kind=root.choice("kind", KINDS),
        model=root.one("model", ModelSource, _model_source),
        provenance=root.one("provenance", Provenance, _provenance),
        functions=root.named("functions", FunctionInterface, _function),
        artifacts=root.many("artifacts", Artifact, _artifact),
        golden=root.many("golden", GoldenRecord, _golden),
        variables=root.many("variables", VariableSpec, _variable),
        labels=None if root.is_null("labels") else root.texts("labels"),
        reference=root.boolean("reference"),
        arithmetic=arithmetic,
        format=version,
        segments=root.many("segments", Segment, _segment),
    )


def _model_source(f: Fields) -> ModelSource:
    return ModelSource(f.choice("source_format", SOURCE_FORMATS), _sha256(f, "source_sha256"))


def _provenance(f: Fields) -> Provenance:
    return Provenance(f.text("compiler"), f.text("tvm"), f.plain("options"))


def _function(f: Fields) -> FunctionInterface:
    return FunctionInterface(f.many("inputs", TensorSpec, _tensor), f.many("outputs", TensorSpec, _tensor))


def _tensor(f: Fields) -> TensorSpec:
    tensor = TensorSpec(
        f.text("name"),
        _shape(f),
        f.choice("dtype", tuple(ITEM_BYTES)),
        None if f.is_null("quantization") else f.one("quantization", Quantization, _quantization),
        None if f.is_null("tolerance") else f.number("tolerance"),
    )
    return _bounded(f, tensor)


def _variable(f: Fields) -> VariableSpec:
    variable = VariableSpec(
        f.text("name"),
        _shape(f),
        f.choice("dtype", tuple(ITEM_BYTES)),
        f.boolean("trainable"),
        None if f.is_null("source_name") else f.text("source_name"),
        None if f.is_null("source_axes") else f.integers("source_axes", 0, layout.RANK_LIMIT - 1),
        None if f.is_null("source_shape") else f.integers("source_shape", 1, 1 << 31),
    )
    if variable.source_axes is not None and sorted(variable.source_axes) != list(range(len(variable.shape))):
        raise f.wrong("source_axes", f"an order of the {len(variable.shape)} axes")
    if variable.source_shape is not None and math.prod(variable.source_shape) != math.prod(variable.shape):
        raise f.wrong("source_shape", f"a shape of {math.prod(variable.shape)} elements")
    return _bounded(f, variable)


def _quantization(f: Fields) -> Quantization:
    return Quantization(
        f.scales("scales"),
        f.integer("zero_point", -(1 << 31), (1 << 31) - 1),
        None if f.is_null("axis") else f.integer("axis", 0, layout.RANK_LIMIT - 1),
    )


def _artifact(f: Fields) -> Artifact:
    return Artifact(
        f.text("target"),
        f.text("code"),
        None if f.is_null("weights") else f.text("weights"),
        f.named("functions", EntryPoint, _entry_point),
        None if f.is_null("variables") else f.one("variables", VariableBlock, _variable_block),
    )


def _entry_point(f: Fields) -> EntryPoint:
    symbol = f.matching("symbol", is_identifier, "a C identifier")
    return EntryPoint(symbol, f.integer("arena_bytes", 0, layout.ARENA_LIMIT_BYTES))


def _variable_block(f: Fields) -> VariableBlock:
    return VariableBlock(f.text("segment"), f.integer("bytes", 0, _LARGEST), f.sizes("offsets"))


def _golden(f: Fields) -> GoldenRecord:
    return GoldenRecord(f.text("function"), f.text("segment"), f.ranges("inputs"), f.ranges("outputs"))


def _segment(f: Fields) -> Segment:
    return Segment(
        f.text("name"),
        f.integer("offset", 0, _LARGEST),
        f.integer("bytes", 0, _LARGEST),
        _sha256(f, "sha256"),
    )


def _shape(f: Fields) -> tuple[int, ...]:
    return f.integers("shape", 1, layout.TENSOR_LIMIT_BYTES)


S = TypeVar("S", TensorSpec, VariableSpec)


def _bounded(f: Fields, tensor: S) -> S:
    if tensor.nbytes > layout.TENSOR_LIMIT_BYTES:
        raise f.wrong("shape", f"an array of at most {layout.TENSOR_LIMIT_BYTES} bytes")
    return tensor


def _sha256(f: Fields, name: str) -> str:
    return f.matching(name, lambda text: is_hex(text, 64), "a SHA-256 in 64 lower-case hexadecimal digits")


def is_identifier(text: str) -> bool:
    """Whether C and Python take `text` for a name."""
    return text.isascii() and text.isidentifier() and len(text) <= 128


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and -_LARGEST_FLOAT <= value <= _LARGEST_FLOAT


def _printable(text: str) -> bool:
    return 0 < len(text) <= 512 and text.isprintable()


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
