"""Whatever was done to a bundle's bytes: a clear error before anything is used, or the same behaviour."""

from __future__ import annotations

import functools
import json
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_sdk.bundle import Bundle, generate_key
from lepton_sdk.bundle.digest import sha256_hex
from lepton_sdk.bundle.format import FOOTER, HEADER, MANIFEST_LIMIT_BYTES, aligned, pack_footer
from lepton_sdk.bundle.manifest import canonical_json
from lepton_targets.errors import BadInputError, BundleFormatError, LeptonError, NewerFormatError
from support import bundles


@functools.cache
def signed() -> tuple[bytes, Path]:
    """A signed bundle's bytes and the public key's path."""
    folder = Path(tempfile.mkdtemp())
    public, _ = generate_key(folder / "key.pem")
    return bundles.write(folder / "a.lep", key=folder / "key.pem").read_bytes(), public


def opened(content: bytes) -> Bundle:
    return Bundle(memoryview(content))


def behaviour(bundle: Bundle) -> tuple[object, ...]:
    """All of a bundle that anything can depend on, its signatures aside."""
    segments = {s.name: bytes(bundle.segment(s.name)) for s in bundle.manifest.segments}
    return bundle.manifest, bundle.digest, bundle.manifest_bytes, segments


def interesting_lengths() -> list[int]:
    content, _ = signed()
    manifest_end = HEADER.size + HEADER.unpack(content[: HEADER.size])[4]
    segments = opened(content).manifest.segments
    edges = {0, 1, 8, HEADER.size, manifest_end, len(content) - FOOTER.size, len(content) - 1}
    edges |= {s.offset for s in segments} | {s.offset + s.bytes for s in segments}
    return sorted({edge + d for edge in edges for d in (-1, 0, 1) if 0 <= edge + d < len(content)})


def test_truncated_at_every_edge(tmp_path: Path) -> None:
    path = tmp_path / "short.lep"
    for length in interesting_lengths():
        path.write_bytes(signed()[0][:length])
        with pytest.raises(BundleFormatError, match=r"short\.lep"):
            Bundle.open(path)


def test_longer_than_written() -> None:
    with pytest.raises(BundleFormatError):
        opened(signed()[0] + b"\0")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_byte_changed_is_refused_or_changes_nothing(data: st.DataObject) -> None:
    content, public = signed()
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(content) - 1))
        changed[position] ^= data.draw(st.integers(1, 255))
    if changed == content:
        return
    try:
        found = opened(bytes(changed))
    except BundleFormatError:
        return
    assert behaviour(found) == behaviour(opened(content))
    with pytest.raises(LeptonError):
        found.verify_signature([public])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_refused(content: bytes) -> None:
    for attempt in (content, signed()[0][:24] + content, content + signed()[0][-16:]):
        with pytest.raises(BundleFormatError):
            opened(attempt)


def test_tflite_file_is_recognised() -> None:
    with pytest.raises(BundleFormatError, match="not a Lepton bundle"):
        opened(b"\x1c\0\0\0TFL3" + bytes(100))


@pytest.mark.parametrize("major", [2, 65535])
def test_newer_major_is_refused_as_newer(major: int) -> None:
    content = bytearray(signed()[0])
    struct.pack_into("<H", content, 8, major)
    with pytest.raises(NewerFormatError, match=rf"format {major}\.0; this version reads up to 1\.x"):
        opened(bytes(content))


@pytest.mark.parametrize("length", [0, MANIFEST_LIMIT_BYTES + 1, 1 << 40, (1 << 64) - 1])
def test_absurd_manifest_length(length: int) -> None:
    content = bytearray(signed()[0])
    struct.pack_into("<Q", content, 16, length)
    with pytest.raises(BundleFormatError, match="manifest of"):
        opened(bytes(content))


@pytest.mark.parametrize("length", [0, (1 << 64) - 1, 1 << 20])
def test_absurd_trailer_length(length: int) -> None:
    content = signed()[0]
    with pytest.raises(BundleFormatError):
        opened(content[: -FOOTER.size] + pack_footer(length))


def forged(change: Callable[[dict[str, Any]], object], minor: int = 0) -> bytes:
    """A bundle whose manifest was changed by one who then made every hash right again."""
    content, _ = signed()
    bundle = opened(content)
    document = json.loads(bundle.manifest_bytes)
    change(document)
    manifest = canonical_json(document)
    trailer = canonical_json(
        {
            "manifest_sha256": sha256_hex(manifest),
            "segments": [segment["name"] for segment in document["segments"]],
            "signatures": [],
        }
    )
    # The same length keeps every offset right; the forger may pad with spaces.
    room = len(bundle.manifest_bytes)
    if len(manifest) <= room:
        manifest = manifest + b" " * (room - len(manifest))
        trailer = trailer.replace(
            sha256_hex(canonical_json(document)).encode(), sha256_hex(manifest).encode()
        )
    header = HEADER.pack(b"LEPTON\0\0", 1, minor, 0, len(manifest))
    begin = bundle.manifest.segments[0].offset
    end = max(s.offset + s.bytes for s in bundle.manifest.segments)
    front = header + manifest
    body = front + bytes(max(0, begin - len(front))) + content[begin:end]
    return body + bytes(aligned(len(body)) - len(body)) + trailer + pack_footer(len(trailer))


def test_forger_without_change_is_taken() -> None:
    assert opened(forged(lambda m: m)).manifest == opened(signed()[0]).manifest


def _set(*path: str | int) -> Callable[[Any], Callable[[dict[str, Any]], object]]:
    def to(value: Any) -> Callable[[dict[str, Any]], object]:
        def change(document: Any) -> None:
            for key in path[:-1]:
                document = document[key]
            document[path[-1]] = value

        return change

    return to


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("segments", 1, "offset")(0), "overlap"),
        (_set("segments", 0, "offset")(1 << 62), "overlap"),
        (_set("segments", 4, "offset")(1 << 62), "would take the bytes"),
        (_set("segments", 0, "bytes")((1 << 63) - 1), "overlap"),
        (_set("segments", 0, "offset")(-64), "offset is -64"),
        (_set("segments", 0, "offset")(1.5), r"offset is 1\.5"),
        (_set("segments", 0, "sha256")("AB" * 32), "SHA-256"),
        (_set("segments", 0, "sha256")("ab" * 32), "is altered"),
        (_set("segments", 0, "name")("golden"), "twice|needs the segment"),
        (_set("artifacts", 0, "code")("nothing"), "needs the segment 'nothing'"),
        (_set("artifacts", 0, "functions", "infer", "arena_bytes")(1 << 50), "arena_bytes"),
        (_set("artifacts", 0, "functions", "infer", "symbol")("a;b"), "C identifier"),
        (_set("artifacts", 0, "variables", "bytes")(1 << 50), "variable block"),
        (_set("artifacts", 0, "variables", "offsets", "w")(1 << 50), "places variable"),
        (_set("artifacts", 0, "variables", "offsets", "w")(64), "places variable"),
        (_set("artifacts", 0, "variables")(None), "no block"),
        (_set("functions", "infer", "inputs", 0, "shape")([1 << 31, 1 << 31, 1 << 31]), "at most"),
        (_set("functions", "infer", "inputs", 0, "shape")([0]), "shape"),
        (_set("functions", "infer", "inputs", 0, "shape")([1] * 9), "at most 8"),
        (_set("functions", "infer", "inputs", 0, "dtype")("object"), "dtype"),
        (_set("functions", "infer", "inputs", 0, "quantization", "scales")([0]), "scales"),
        (_set("functions", "infer", "inputs", 0, "quantization", "scales")([10**400]), "scales"),
        (_set("functions", "infer", "outputs", 0, "tolerance")(-1), "tolerance"),
        (_set("golden", 0, "inputs", "x")([1 << 62, 10]), "golden vector"),
        (_set("golden", 0, "inputs", "x")([0]), "golden"),
        (_set("variables", 0, "source_axes")([1, 1]), "source_axes"),
        (_set("arithmetic")(2), "arithmetic 2"),
        (_set("format", "major")(2), "format 2"),
        (_set("format", "minor")(1), "different format versions"),
        (_set("labels")("text"), "labels"),
        (_set("extra")(1), "unknown key 'extra'"),
        (lambda m: m.pop("kind"), "lacks 'kind'"),
        (lambda m: m["functions"].clear(), "no functions"),
    ],
)
def test_forged_manifest_with_right_hashes(change: Callable[[dict[str, Any]], object], message: str) -> None:
    with pytest.raises(BundleFormatError, match=message):
        opened(forged(change))


def test_newer_minor_may_have_more_keys() -> None:
    def change(document: dict[str, Any]) -> None:
        document["format"]["minor"] = 7
        document["x"] = 1
        document["model"]["y"] = [None]

    # Shorter elsewhere, so that the segments keep their places.
    def fitted(document: dict[str, Any]) -> None:
        change(document)
        document["provenance"] = {"compiler": "c", "tvm": "t", "options": {}}

    found = opened(forged(fitted, minor=7))
    assert found.manifest.format.minor == 7
    assert found.manifest.name == "tiny"


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{", b'{"a":1,"a":2}', b'{"a":NaN}', b"\xff", b"[" * 100_000, b"1" * 5000, b'"\\ud800"'],
)
def test_manifest_that_is_no_json_object(text: bytes) -> None:
    content = HEADER.pack(b"LEPTON\0\0", 1, 0, 0, len(text)) + text
    content += bytes(aligned(len(content)) - len(content))
    trailer = canonical_json({"manifest_sha256": sha256_hex(text), "segments": [], "signatures": []})
    with pytest.raises(BadInputError):
        opened(content + trailer + pack_footer(len(trailer)))
