"""What stands after the segments: the manifest's hash, which segments are present, and the signatures."""

from __future__ import annotations

import re
from typing import NamedTuple

from lepton_sdk.bundle.manifest import canonical_json
from lepton_sdk.bundle.parsing import parse_json
from lepton_targets.errors import BundleFormatError

ED25519 = "ed25519"
SIGNATURE_LIMIT = 64

_FORMS = {
    "algorithm": re.compile(r"[a-z0-9-]{1,32}"),
    "key_id": re.compile(r"[0-9a-f]{16}"),
    "signature": re.compile(r"(?:[0-9a-f]{2}){1,1024}"),
}
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Signature(NamedTuple):
    """A detached signature over the manifest's bytes. key_id: 16 hexadecimal digits; signature: likewise."""

    algorithm: str
    key_id: str
    signature: str


class Trailer(NamedTuple):
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
                "signatures": [signature._asdict() for signature in self.signatures],
            }
        )


def parse_trailer(content: bytes) -> Trailer:
    """Raises BundleFormatError for anything but the three keys with values of their form."""
    document = parse_json(content, "trailer")
    if not isinstance(document, dict) or document.keys() != set(Trailer._fields):
        raise _wrong(f"it must hold exactly {', '.join(Trailer._fields)}")
    manifest_sha256, segments, signatures = (document[name] for name in Trailer._fields)
    if not isinstance(manifest_sha256, str) or not _DIGEST.fullmatch(manifest_sha256):
        raise _wrong("its manifest hash is not 64 hexadecimal digits")
    if not isinstance(segments, list) or not all(isinstance(name, str) for name in segments):
        raise _wrong("its list of segments is no list of names")
    if not isinstance(signatures, list) or len(signatures) > SIGNATURE_LIMIT:
        raise _wrong(f"its signatures are no list of at most {SIGNATURE_LIMIT}")
    return Trailer(manifest_sha256, tuple(segments), tuple(map(_signature, signatures)))


def _signature(entry: object) -> Signature:
    if not isinstance(entry, dict) or entry.keys() != _FORMS.keys():
        raise _wrong(f"a signature must hold exactly {', '.join(_FORMS)}")
    for name, form in _FORMS.items():
        if not isinstance(entry[name], str) or not form.fullmatch(entry[name]):
            raise _wrong(f"a signature's {name} has not the form {form.pattern}")
    return Signature(**entry)


def _wrong(what: str) -> BundleFormatError:
    return BundleFormatError(f"the bundle's trailer is altered: {what}")
