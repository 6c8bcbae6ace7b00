"""Writes bundles: same manifest and segments, same bytes; on disk whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lepton_sdk.bundle import format as layout
from lepton_sdk.bundle.consistency import check_consistency
from lepton_sdk.bundle.manifest import Artifact, Manifest, Segment, steps_segment
from lepton_sdk.bundle.parsing import parse_manifest
from lepton_sdk.bundle.reader import Bundle
from lepton_sdk.bundle.trailer import Signature, Trailer
from lepton_sdk.durable import write_durably
from lepton_targets.errors import BundleFormatError, UnavailableError, nearest


def write_bundle(
    path: Path | str,
    manifest: Manifest,
    segments: Mapping[str, bytes],
    signing_key: Path | str | None = None,
) -> Path:
    """Write the bundle durably and return its path.

    manifest: without segments, which are listed here, by name in sorted order. signing_key: private PEM.
    Raises BundleFormatError where manifest and segments do not fit together, BadInputError for a bad key.
    """
    placed = place_segments(manifest, segments)
    try:
        encoded = placed.to_json()
        understood = parse_manifest(encoded)
    except (TypeError, ValueError) as error:
        raise BundleFormatError(f"the manifest cannot be written: {error}") from None
    check_consistency(understood)
    signatures: tuple[Signature, ...] = ()
    if signing_key is not None:
        from lepton_sdk.bundle.signing import sign_manifest

        signatures = (sign_manifest(encoded, signing_key),)
    contents = [(segment.name, segments[segment.name]) for segment in placed.segments]
    return write_durably(path, assemble(encoded, contents, signatures))


def place_segments(manifest: Manifest, segments: Mapping[str, bytes]) -> Manifest:
    """The manifest with every segment's offset, length and hash."""
    if manifest.segments:
        raise BundleFormatError("the manifest lists segments already; the writer places them")
    unplaced = [
        Segment(name, 0, len(content), hashlib.sha256(content).hexdigest())
        for name, content in sorted(segments.items())
    ]
    placed = manifest.replace(segments=tuple(unplaced))
    # The offsets' digits are part of what they are offsets behind; a pass can only lengthen them: it settles.
    while True:
        end = layout.HEADER.size + len(placed.to_json())
        moved = []
        for segment in unplaced:
            begin = layout.aligned(end)
            moved.append(segment.replace(offset=begin))
            end = begin + segment.bytes
        settled = placed.replace(segments=tuple(moved))
        if settled == placed:
            return settled
        placed = settled


def assemble(
    manifest: bytes, segments: Sequence[tuple[str, bytes | memoryview]], signatures: tuple[Signature, ...]
) -> Iterable[bytes]:
    """The pieces of a bundle's file, in order."""
    yield layout.pack_header(len(manifest))
    yield manifest
    end = layout.HEADER.size + len(manifest)
    for _, content in segments:
        yield bytes(layout.aligned(end) - end)
        yield bytes(content)
        end = layout.aligned(end) + len(content)
    yield bytes(layout.aligned(end) - end)
    names = tuple(name for name, _ in segments)
    trailer = Trailer(hashlib.sha256(manifest).hexdigest(), names, signatures).to_json()
    yield trailer
    yield layout.pack_footer(len(trailer))


def thin(bundle: Bundle, target: str | Sequence[str]) -> bytes:
    """The bundle's file without the segments that only other targets use; its signatures still hold.

    Raises UnavailableError where the bundle has nothing for a target.
    """
    wanted = (target,) if isinstance(target, str) else tuple(target)
    available = {artifact.target: artifact for artifact in bundle.artifacts}
    for name in wanted:
        if name not in available:
            raise UnavailableError(
                f"{bundle.path} has nothing for {name}{nearest(name, available)}",
                f"it has: {', '.join(available) or 'no artifacts'}",
            )
    kept = _needed([available[name] for name in wanted])
    dropped = _needed(bundle.manifest.artifacts) - kept
    dropped |= {steps_segment(name) for name in bundle.manifest.targets if name not in wanted}
    contents = [(s.name, bundle.segment(s.name)) for s in bundle.manifest.segments if s.name not in dropped]
    return b"".join(assemble(bundle.manifest_bytes, contents, bundle.signatures))


def _needed(artifacts: Iterable[Artifact]) -> set[str]:
    return {name for artifact in artifacts for name in artifact.segments}
