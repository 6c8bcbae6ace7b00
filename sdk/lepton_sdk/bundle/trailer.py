"""What stands after the segments: the manifest's hash, which segments are present, and the signatures."""

from __future__ import annotations

from lepton_sdk.bundle.digest import is_hex
from lepton_sdk.bundle.manifest import canonical_json
from lepton_sdk.bundle.parsing import parse_json
from lepton_targets.errors import BundleFormatError
from lepton_targets.record import Record

ED25519 = "ed25519"
SIGNATURE_LIMIT = 64


class Signature(Record):
    """A detached signature over the manifest's bytes. key_id: 16 hexadecimal digits; signature: likewise."""

    algorithm: str
    key_id: str
    signature: str


class Trailer(Record):
    """segments: names of those present, in the manifest's order. manifest_sha256: the bundle's identity."""

    manifest_sha256: str
    segments: tuple[str, ...]
    signatures: tuple[Signature, ...]

    def to_json(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(
            {
                "manifest_sha256": self.manifest_sha256,
                "segments": list(self.segments),
                "signatures": [signature.as_dict() for signature in self.signatures],
            }
        )


def parse_trailer(content: bytes) -> Trailer:
    """Raises BundleFormatError for anything but the three keys with values of their form."""
    document = parse_json(content, "trailer")
    if not isinstance(document, dict) or document.keys() != set(Trailer.fields()):
        raise _wrong(f"it must hold exactly {', '.join(Trailer.fields())}")
    manifest_sha256, segments, signatures = (document[name] for name in Trailer.fields())
    if not isinstance(manifest_sha256, str) or not is_hex(manifest_sha256, 64):
        raise _wrong("its manifest hash is not 64 hexadecimal digits")
    if not isinstance(segments, list) or not all(isinstance(name, str) for name in segments):
        raise _wrong("its list of segments is no list of names")
    if not isinstance(signatures, list) or len(signatures) > SIGNATURE_LIMIT:
        raise _wrong(f"its signatures are no list of at most {SIGNATURE_LIMIT}")
    return Trailer(manifest_sha256, tuple(segments), tuple(map(_signature, signatures)))


def _signature(entry: object) -> Signature:
    if not isinstance(entry, dict) or entry.keys() != set(Signature.fields()):
        raise _wrong(f"a signature must hold exactly {', '.join(Signature.fields())}")
    if not all(isinstance(value, str) for value in entry.values()):
        raise _wrong("a signature's fields must be texts")
    signature = Signature(**entry)
    if not 0 < len(signature.algorithm) <= 32:
        raise _wrong("a signature's algorithm is no name of up to 32 characters")
    if not is_hex(signature.key_id, 16) or not is_hex(signature.signature, 128):
        raise _wrong("a signature's key id or bytes are not in hexadecimal digits")
    return signature


def _wrong(what: str) -> BundleFormatError:
    return BundleFormatError(f"the bundle's trailer is altered: {what}")
