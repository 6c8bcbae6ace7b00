"""What a manifest's parts owe each other: every reference resolves, every range lies inside its segment.

Reader and writer both check it, so that an engine may use offsets and names without looking again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lepton_sdk.bundle import format as layout
from lepton_sdk.bundle.manifest import Artifact, GoldenRecord, Manifest, Segment, TensorSpec
from lepton_sdk.bundle.parsing import is_identifier
from lepton_targets.errors import BundleFormatError, nearest

PROGRAM = "program"


def check_consistency(manifest: Manifest) -> None:
    """Raise BundleFormatError for the first reference, range or name that does not fit."""
    _unique("segments", (segment.name for segment in manifest.segments))
    _unique("artifacts", manifest.targets)
    _unique("variables", (variable.name for variable in manifest.variables))
    segments = {segment.name: segment for segment in manifest.segments}
    _check_places(manifest.segments)
    _resolve(PROGRAM, segments, "the manifest")
    if not manifest.functions:
        raise BundleFormatError("the manifest has no functions; a bundle has at least 'infer'")
    for name, function in manifest.functions.items():
        if not is_identifier(name) or name != name.lower():
            raise BundleFormatError(
                f"the manifest's function name {name!r} is not in lower case letters, digits and _"
            )
        _unique(f"inputs of '{name}'", (tensor.name for tensor in function.inputs))
        _unique(f"outputs of '{name}'", (tensor.name for tensor in function.outputs))
    for artifact in manifest.artifacts:
        _check_artifact(manifest, artifact, segments)
    for number, record in enumerate(manifest.golden):
        _check_golden(manifest, record, segments, f"golden vector {number}")


def _check_places(segments: tuple[Segment, ...]) -> None:
    end = 0
    for segment in segments:
        if segment.offset % layout.ALIGNMENT:
            raise BundleFormatError(
                f"segment '{segment.name}' begins at {segment.offset}, no multiple of {layout.ALIGNMENT}"
            )
        if segment.offset < end:
            raise BundleFormatError(
                f"segment '{segment.name}' begins at {segment.offset} and overlaps what ends at {end}"
            )
        end = segment.offset + segment.bytes


def _check_artifact(manifest: Manifest, artifact: Artifact, segments: Mapping[str, Segment]) -> None:
    who = f"the artifact for {artifact.target}"
    for name in artifact.segments:
        _resolve(name, segments, who)
    for name in artifact.functions:
        if name not in manifest.functions:
            raise BundleFormatError(f"{who} has the function '{name}', which the manifest does not describe")
    block = artifact.variables
    if block is None:
        if manifest.variables:
            raise BundleFormatError(
                f"{who} has no block for the manifest's {len(manifest.variables)} variables"
            )
        return
    if block.bytes != segments[block.segment].bytes:
        found = segments[block.segment].bytes
        raise BundleFormatError(f"{who} has a variable block of {block.bytes} bytes in a segment of {found}")
    sizes = {variable.name: variable.nbytes for variable in manifest.variables}
    if sizes.keys() != block.offsets.keys():
        raise BundleFormatError(
            f"{who} places the variables {_differing(sizes, block.offsets)} otherwise than declared"
        )
    end = 0
    for name, offset in sorted(block.offsets.items(), key=lambda item: (item[1], sizes[item[0]])):
        if offset % layout.ALIGNMENT or offset < end or offset + sizes[name] > block.bytes:
            raise BundleFormatError(
                f"{who} places variable '{name}' ({sizes[name]} bytes) at {offset}",
                f"it must be a multiple of {layout.ALIGNMENT}, not before {end}, and end by {block.bytes}",
            )
        end = offset + sizes[name]


def _check_golden(
    manifest: Manifest, record: GoldenRecord, segments: Mapping[str, Segment], who: str
) -> None:
    segment = _resolve(record.segment, segments, who)
    function = manifest.functions.get(record.function)
    if function is None:
        raise BundleFormatError(
            f"{who} is of the function '{record.function}', which the manifest does not describe"
        )
    for ranges, tensors in ((record.inputs, function.inputs), (record.outputs, function.outputs)):
        _check_ranges(ranges, tensors, segment, who)


def _check_ranges(
    ranges: Mapping[str, tuple[int, int]], tensors: tuple[TensorSpec, ...], segment: Segment, who: str
) -> None:
    sizes = {tensor.name: tensor.nbytes for tensor in tensors}
    if sizes.keys() != ranges.keys():
        raise BundleFormatError(f"{who} does not match its function in {_differing(sizes, ranges)}")
    for name, (offset, nbytes) in ranges.items():
        if nbytes != sizes[name] or offset + nbytes > segment.bytes:
            raise BundleFormatError(
                f"{who} has '{name}' at {offset} with {nbytes} bytes",
                f"{sizes[name]} bytes within a segment of {segment.bytes} are expected",
            )


def _resolve(name: str, segments: Mapping[str, Segment], who: str) -> Segment:
    if name not in segments:
        raise BundleFormatError(
            f"{who} needs the segment '{name}', which is not listed{nearest(name, segments)}"
        )
    return segments[name]


def _unique(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise BundleFormatError(f"the manifest's {what} have '{name}' twice")
        seen.add(name)


def _differing(expected: Iterable[str], found: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(set(expected) ^ set(found)))
