"""Where the bytes of a bundle stand.

    header      magic `LEPTON\\0\\0`, u16 major, u16 minor, u32 zero, u64 manifest length; little-endian
    manifest    canonical JSON
    segments    in the manifest's order, each at the next multiple of 64, zeros between
    trailer     canonical JSON at the next multiple of 64: manifest hash, segments present, signatures
    footer      u64 trailer length, magic `LEPTAIL\\0`

The trailer is what may differ between two files of one manifest: the signatures, and in a thin bundle the
list of segments that were left out. The manifest's offsets are those of the full file.
"""

from __future__ import annotations

import struct

from lepton_targets.errors import BundleFormatError, NewerFormatError
from lepton_targets.record import Record

MAJOR = 1
MINOR = 0
ARITHMETIC = 1

MAGIC = b"LEPTON\0\0"
FOOTER_MAGIC = b"LEPTAIL\0"
HEADER = struct.Struct("<8sHHIQ")
FOOTER = struct.Struct("<Q8s")
ALIGNMENT = 64

# Bounds on what a file may ask of the machine that reads it; a hostile size is refused before it is used.
MANIFEST_LIMIT_BYTES = 16 << 20
TRAILER_LIMIT_BYTES = 1 << 20
TENSOR_LIMIT_BYTES = 4 << 30
ARENA_LIMIT_BYTES = 16 << 30
RANK_LIMIT = 8
COUNT_LIMIT = 65_536


class Header(Record):
    """The first 24 bytes."""

    major: int
    minor: int
    manifest_bytes: int


def aligned(offset: int) -> int:
    """The next multiple of ALIGNMENT that is not before `offset`."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


def pack_header(manifest_bytes: int) -> bytes:
    """The 24 bytes before a manifest of that length."""
    return HEADER.pack(MAGIC, MAJOR, MINOR, 0, manifest_bytes)


def unpack_header(content: memoryview) -> Header:
    """Check the magic, the version and the length. Raises BundleFormatError or NewerFormatError."""
    if len(content) < len(MAGIC) or content[: len(MAGIC)] != MAGIC:
        found = bytes(content[: len(MAGIC)])
        model = "; this is a TFLite model" if bytes(content[4:8]) == b"TFL3" else ""
        raise BundleFormatError(
            f"not a Lepton bundle{model}",
            f"found it to begin with {found!r}; a bundle begins with {MAGIC!r}",
            "a model becomes a bundle by  lepton compile;  a .tflite also runs with  --engine litert",
        )
    if len(content) < HEADER.size + FOOTER.size:
        raise truncated(f"{len(content)} bytes hold no header and footer")
    _, major, minor, zero, manifest_bytes = HEADER.unpack(content[: HEADER.size])
    if major > MAJOR:
        raise NewerFormatError(
            f"the bundle has format {major}.{minor}; this version reads up to {MAJOR}.x",
            "update lepton-edge on this device, or compile the model with an older one",
        )
    if major < MAJOR:
        raise BundleFormatError(f"the bundle has format {major}.{minor}, which was never released")
    if zero != 0:
        raise BundleFormatError(f"the header's reserved field is {zero:#x}; it must be zero")
    if not 0 < manifest_bytes <= MANIFEST_LIMIT_BYTES:
        raise BundleFormatError(
            f"the header announces a manifest of {manifest_bytes} bytes",
            f"1 to {MANIFEST_LIMIT_BYTES} are accepted",
        )
    if HEADER.size + manifest_bytes + FOOTER.size > len(content):
        raise truncated(f"a manifest of {manifest_bytes} bytes does not fit into {len(content)}")
    return Header(major, minor, manifest_bytes)


def pack_footer(trailer_bytes: int) -> bytes:
    """The last 16 bytes."""
    return FOOTER.pack(trailer_bytes, FOOTER_MAGIC)


def unpack_footer(content: memoryview) -> int:
    """Length of the trailer that stands before the footer. Raises BundleFormatError."""
    trailer_bytes, magic = FOOTER.unpack(content[-FOOTER.size :])
    if magic != FOOTER_MAGIC:
        raise truncated("its last bytes are no footer")
    if not 0 < trailer_bytes <= min(TRAILER_LIMIT_BYTES, len(content) - FOOTER.size):
        raise BundleFormatError(
            f"the footer announces a trailer of {trailer_bytes} bytes, which does not fit"
        )
    return int(trailer_bytes)


def truncated(what: str) -> BundleFormatError:
    """The error for a file that ends too early."""
    return BundleFormatError(
        f"the bundle is truncated or altered: {what}", "copy or download it again and compare its size"
    )
