"""`Bundle`: a memory-mapped file, of which every byte is checked before any is used."""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lepton_sdk.bundle import format as layout
from lepton_sdk.bundle.consistency import PROGRAM, check_consistency
from lepton_sdk.bundle.digest import sha256_hex
from lepton_sdk.bundle.manifest import Artifact, GoldenRecord, Manifest, Segment, TensorSpec
from lepton_sdk.bundle.parsing import parse_manifest
from lepton_sdk.bundle.trailer import Signature, Trailer, parse_trailer
from lepton_targets.errors import (
    BadInputError,
    BundleFormatError,
    SignatureError,
    UnavailableError,
    nearest,
)
from lepton_targets.record import Record

if TYPE_CHECKING:
    from pathlib import Path

    from lepton_sdk.program import Program


class GoldenVector(Record):
    """Inputs of a function and the outputs every target must give for them; read-only arrays by name."""

    function: str
    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]


class Bundle:
    """A checked bundle. Segments are views of the mapped file and live as long as anything refers to them."""

    __slots__ = ("_content", "_manifest_bytes", "_places", "_program", "_trailer", "manifest", "path")

    def __init__(self, content: memoryview, path: str = "<memory>") -> None:
        """Check `content`, the bytes of a whole bundle. Raises BundleFormatError or NewerFormatError."""
        header = layout.unpack_header(content)
        end = layout.HEADER.size + header.manifest_bytes
        trailer_bytes = layout.unpack_footer(content)
        trailer_at = len(content) - layout.FOOTER.size - trailer_bytes
        if trailer_at < end:
            raise layout.truncated("manifest and trailer overlap")
        self.path = path
        self._content = content
        self._manifest_bytes = bytes(content[layout.HEADER.size : end])
        self._trailer: Trailer = parse_trailer(bytes(content[trailer_at : trailer_at + trailer_bytes]))
        if (found := sha256_hex(self._manifest_bytes)) != self._trailer.manifest_sha256:
            raise BundleFormatError(
                "the bundle's manifest is altered",
                f"its SHA-256 is {found}, not {self._trailer.manifest_sha256}",
            )
        self.manifest: Manifest = parse_manifest(self._manifest_bytes)
        version = self.manifest.format
        if (header.major, header.minor) != (version.major, version.minor):
            raise BundleFormatError("the bundle's header and manifest state different format versions")
        check_consistency(self.manifest)
        self._places = _place(self.manifest, self._trailer, end, trailer_at, content)
        self._program: Program | None = None

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Map the file and check all of it. Raises BadInputError, BundleFormatError or NewerFormatError.

        A file that is open must be replaced by renaming, never overwritten (all writers here do so).
        """
        try:
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size == 0:
                    raise BundleFormatError(f"{path} is empty", "copy or download it again")
                content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError) as error:
            raise BadInputError(
                f"cannot read the bundle {path}: {getattr(error, 'strerror', None) or error}"
            ) from None
        try:
            return cls(content, os.fspath(path))
        except BundleFormatError as error:
            raise type(error)(f"{path}: {error.message}", *error.details) from None

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, in hexadecimal: the bundle's identity, thin or full, signed or not."""
        return self._trailer.manifest_sha256

    @property
    def signatures(self) -> tuple[Signature, ...]:
        """The signatures the file carries, unchecked."""
        return self._trailer.signatures

    @property
    def thin(self) -> bool:
        """Whether segments of other targets were left out."""
        return len(self._trailer.segments) < len(self.manifest.segments)

    @property
    def manifest_bytes(self) -> bytes:
        """The canonical JSON that is hashed and signed."""
        return self._manifest_bytes

    @property
    def nbytes(self) -> int:
        """Size of the file."""
        return len(self._content)

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """Artifacts whose segments are all in this file; of a thin bundle, fewer than the manifest's."""
        return tuple(a for a in self.manifest.artifacts if all(name in self._places for name in a.segments))

    def segment(self, name: str) -> memoryview:
        """Bytes of a segment. Raises UnavailableError where this file does not have it."""
        if name in self._places:
            begin, nbytes = self._places[name]
            return self._content[begin : begin + nbytes]
        names = [segment.name for segment in self.manifest.segments]
        if name in names:
            raise UnavailableError(
                f"{self.path} is a thin bundle without the segment '{name}'", "take the full bundle"
            )
        raise BundleFormatError(f"{self.path} has no segment '{name}'{nearest(name, names)}")

    def executable(self, name: str) -> bytes:
        """A private copy of a segment, hashed again, so that what runs is what was checked."""
        copy = bytes(self.segment(name))
        _check_hash(next(segment for segment in self.manifest.segments if segment.name == name), copy)
        return copy

    def program(self) -> Program:
        """The Program itself, parsed at the first call."""
        if self._program is None:
            from lepton_sdk.program import serialize

            self._program = serialize.load(bytes(self.segment(PROGRAM)))
        return self._program

    def golden(self) -> tuple[GoldenVector, ...]:
        """The golden vectors, as read-only views of the file."""
        return tuple(map(self._golden_vector, self.manifest.golden))

    def verify_signature(self, trust: Path | str | Sequence[Path | str]) -> str:
        """Id of the key in `trust` (public PEM files) that signed the manifest. Raises SignatureError."""
        from lepton_sdk.bundle.trust import verify_manifest

        try:
            return verify_manifest(self._manifest_bytes, self.signatures, trust)
        except SignatureError as error:
            raise SignatureError(f"{self.path}: {error.message}", *error.details) from None

    def _golden_vector(self, record: GoldenRecord) -> GoldenVector:
        function = self.manifest.functions[record.function]
        segment = self.segment(record.segment)
        return GoldenVector(
            record.function,
            {tensor.name: _array(segment, tensor, *record.inputs[tensor.name]) for tensor in function.inputs},
            {
                tensor.name: _array(segment, tensor, *record.outputs[tensor.name])
                for tensor in function.outputs
            },
        )


def _array(segment: memoryview, tensor: TensorSpec, offset: int, nbytes: int) -> np.ndarray:
    return np.frombuffer(segment[offset : offset + nbytes], dtype=tensor.dtype).reshape(tensor.shape)


def _place(
    manifest: Manifest, trailer: Trailer, end: int, trailer_at: int, content: memoryview
) -> dict[str, tuple[int, int]]:
    """(begin, bytes) in this file of each segment that is present, with hashes, padding and end checked."""
    by_name = {segment.name: segment for segment in manifest.segments}
    present = [by_name[name] for name in trailer.segments if name in by_name]
    if trailer.segments != tuple(s.name for s in manifest.segments if s.name in set(trailer.segments)):
        raise BundleFormatError("the bundle's trailer lists segments otherwise than the manifest")
    full = len(present) == len(by_name)
    places = {}
    for segment in present:
        begin = segment.offset if full else layout.aligned(end)
        if begin < end or segment.bytes > trailer_at - begin:
            raise layout.truncated(
                f"segment '{segment.name}' would take the bytes from {begin} on, {segment.bytes} of them; "
                f"bytes {end} to {trailer_at} are left for it"
            )
        _check_padding(content[end:begin])
        end = begin + segment.bytes
        _check_hash(segment, content[begin:end])
        places[segment.name] = (begin, segment.bytes)
    if trailer_at != layout.aligned(end):
        raise layout.truncated(f"its segments end at {end}, its trailer begins at {trailer_at}")
    _check_padding(content[end:trailer_at])
    return places


def _check_hash(segment: Segment, content: memoryview | bytes) -> None:
    if (found := sha256_hex(content)) != segment.sha256:
        raise BundleFormatError(
            f"the bundle's segment '{segment.name}' is altered",
            f"its SHA-256 is {found}, not {segment.sha256}",
        )


def _check_padding(gap: memoryview) -> None:
    if len(gap) >= layout.ALIGNMENT or any(gap):
        raise BundleFormatError("the bundle has bytes that belong to no segment")
