"""A message is a frozen dataclass; on the wire it is a deterministic CBOR map of its fields, `v` and `kind`.

Deterministic: shortest forms, sorted keys, nothing unknown, so that one value has one encoding and a
signature over the bytes is a signature over the value (RFC 8949 §4.2). Decoding accepts exactly what
encoding produces and nothing else: tags, duplicate keys, unknown fields and trailing bytes are a
MessageError, and no decoded byte ever names code.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, ClassVar, Protocol, TypeVar

from lepton_sdk.wire.cbor_form import require_plain
from lepton_targets.errors import MessageError

VERSION = 1
MAX_MESSAGE_BYTES = 1 << 20
_INTEGER_LIMIT = 1 << 63


class Message(Protocol):
    """A frozen dataclass whose fields are int, float, bool, str, bytes, tuples, string-keyed mappings of
    these, or None; `kind` tells the types apart on the wire, so that no signature fits two of them."""

    kind: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


M = TypeVar("M", bound=Message)


def encode(message: Message) -> bytes:
    """The one deterministic CBOR encoding of `message`."""
    return _dumps(_as_map(message))


def signed_bytes(message: Message) -> bytes:
    """What a signature covers: the encoding of `message` without its field `sig`."""
    fields = _as_map(message)
    fields.pop("sig", None)
    return _dumps(fields)


def decode(kind: type[M], payload: bytes | bytearray | memoryview, limit: int = MAX_MESSAGE_BYTES) -> M:
    """Parse `payload` as a message of type `kind`.

    limit: the most bytes accepted. Raises MessageError for anything that `encode` could not have written.
    """
    return typing.cast("M", _from_map(kind, _loads(bytes(payload), kind.kind, limit)))


def _as_map(message: Message) -> dict[str, Any]:
    fields = {name: getattr(message, name) for name in message.__dataclass_fields__ if name != "kind"}
    return {
        "v": VERSION,
        "kind": message.kind,
        **{name: dict(value) if isinstance(value, Mapping) else value for name, value in fields.items()},
    }


def _dumps(fields: dict[str, Any]) -> bytes:
    import cbor2

    return cbor2.dumps(fields, canonical=True)


def _loads(payload: bytes, kind: str, limit: int) -> dict[str, Any]:
    import cbor2

    if len(payload) > limit:
        raise MessageError(f"{kind}: {len(payload)} bytes found, at most {limit} are accepted")
    if not payload or payload[0] >> 5 != 5:
        raise MessageError(f"{kind}: not a CBOR map")
    try:
        require_plain(payload)
        fields = cbor2.loads(payload)
        repeated = cbor2.dumps(fields, canonical=True)
    except (cbor2.CBORError, ValueError, TypeError, ArithmeticError, LookupError, RecursionError) as error:
        raise MessageError(f"{kind}: malformed CBOR ({error})") from error
    if repeated != payload:
        raise MessageError(f"{kind}: CBOR that is not in deterministic form")
    if type(fields.get("v")) is not int or fields["v"] != VERSION:
        raise MessageError(f"{kind}: message version {fields.get('v')!r} found, {VERSION} is spoken here")
    if fields.get("kind") != kind:
        raise MessageError(f"{kind}: a message of kind {fields.get('kind')!r} found")
    del fields["v"], fields["kind"]
    return typing.cast("dict[str, Any]", fields)


def _from_map(kind: type[Message], fields: dict[str, Any]) -> Message:
    parsers = _parsers(kind)
    if fields.keys() != parsers.keys():
        missing = sorted(parsers.keys() - fields.keys())
        unknown = sorted(map(str, fields.keys() - parsers.keys()))
        raise MessageError(f"{kind.kind}: fields missing {missing}, unknown {unknown}")
    values = {name: parse(fields[name], f"{kind.kind}.{name}") for name, parse in parsers.items()}
    return kind(**values)


Parser = Callable[[Any, str], Any]


@lru_cache(maxsize=64)
def _parsers(kind: type[Message]) -> dict[str, Parser]:
    hints = typing.get_type_hints(kind)
    return {name: _parser(hints[name]) for name in kind.__dataclass_fields__ if name != "kind"}


def _parser(hint: Any) -> Parser:
    """The parser of one field, from its annotation."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if type(None) in arguments:
            inner = _parser(typing.Union[tuple(a for a in arguments if a is not type(None))])  # noqa: UP007
            return lambda value, where: None if value is None else inner(value, where)
        allowed = frozenset(arguments)
        return lambda value, where: _scalar(value, where, allowed)
    if origin is tuple:
        element = _parser(arguments[0])
        return lambda value, where: _sequence(value, where, element)
    if origin is not None and issubclass(origin, Mapping):
        element = _parser(arguments[1])
        return lambda value, where: _mapping(value, where, element)
    return lambda value, where: _scalar(value, where, frozenset((hint,)))


def _scalar(value: Any, where: str, allowed: frozenset[type]) -> Any:
    if type(value) not in allowed:
        names = " or ".join(sorted(t.__name__ for t in allowed))
        raise MessageError(f"{where}: {type(value).__name__} found, {names} is accepted")
    if isinstance(value, float) and not math.isfinite(value):
        raise MessageError(f"{where}: {value} found, a finite number is accepted")
    if isinstance(value, int) and not -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
        raise MessageError(f"{where}: an integer beyond 64 bits")
    return value


def _sequence(value: Any, where: str, element: Parser) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise MessageError(f"{where}: {type(value).__name__} found, an array is accepted")
    return tuple(element(item, f"{where}[{index}]") for index, item in enumerate(value))


def _mapping(value: Any, where: str, element: Parser) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise MessageError(f"{where}: a map with text keys is accepted, {type(value).__name__} found")
    return {key: element(item, f"{where}.{key}") for key, item in value.items()}


def require(condition: bool, reason: str) -> None:
    """Raise MessageError(reason) unless `condition`: for the value checks of a message's __post_init__."""
    if not condition:
        raise MessageError(reason)
