"""Whether a manifest was signed by someone trusted. A device does this at every start, so little is loaded.

A public key is a PEM file (RFC 8410: an Ed25519 SubjectPublicKeyInfo, 12 fixed bytes before the key's 32); of
`cryptography` only the Ed25519 part is imported, and that only here.
"""

from __future__ import annotations

import binascii
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from lepton_sdk.bundle.digest import sha256_hex
from lepton_sdk.bundle.trailer import ED25519, Signature
from lepton_targets.errors import BadInputError, SignatureError

if TYPE_CHECKING:
    from pathlib import Path

_BEGIN, _END = b"-----BEGIN PUBLIC KEY-----", b"-----END PUBLIC KEY-----"
_ED25519_INFO = bytes.fromhex("302a300506032b6570032100")
_KEY_BYTES = 32


def key_id(public_key: bytes) -> str:
    """First 16 hexadecimal digits of SHA-256 over the raw 32-byte public key."""
    return sha256_hex(public_key)[:16]


def load_public_key(path: Path | str) -> bytes:
    """The raw 32 bytes of the Ed25519 public key in a PEM file. Raises BadInputError."""
    content = read_key(path)
    _, begin, rest = content.partition(_BEGIN)
    body, end, _ = rest.partition(_END)
    try:
        info = binascii.a2b_base64(body) if begin and end else b""
    except binascii.Error:
        info = b""
    if not info.startswith(_ED25519_INFO) or len(info) != len(_ED25519_INFO) + _KEY_BYTES:
        raise BadInputError(
            f"{path} is not a PEM public key for Ed25519", "`lepton keygen` writes one as KEY.pub.pem"
        )
    return info[len(_ED25519_INFO) :]


def read_key(path: Path | str) -> bytes:
    """The bytes of a key file. Raises BadInputError."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise BadInputError(f"cannot read the key {path}: {error.strerror}") from None


def verify_manifest(
    manifest: bytes, signatures: Sequence[Signature], trust: Path | str | Sequence[Path | str]
) -> str:
    """Id of a trusted key whose signature over `manifest` is right. trust: a public-key file, or several.

    Raises SignatureError where there is none, where it is wrong, or where nobody is trusted.
    """
    files = (trust,) if isinstance(trust, str | os.PathLike) else trust
    keys = {key_id(key): key for key in map(load_public_key, files)}
    if not keys:
        raise SignatureError("a signature is required, but no trusted public key was given")
    if not signatures:
        raise SignatureError(
            "the bundle is not signed, and a signature is required", f"trusted: {_listed(keys)}"
        )
    for signature in signatures:
        if signature.algorithm == ED25519 and signature.key_id in keys:
            _verify(keys[signature.key_id], signature, manifest)
            return signature.key_id
    raise SignatureError(
        "the bundle is not signed by a trusted key",
        f"signed by: {_listed(signature.key_id for signature in signatures)}",
        f"trusted: {_listed(keys)}",
    )


def _verify(key: bytes, signature: Signature, manifest: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(bytes.fromhex(signature.signature), manifest)
    except InvalidSignature:
        raise SignatureError(
            f"the bundle's signature by key {signature.key_id} is wrong",
            "its manifest was altered after signing, or another key claimed this id",
        ) from None


def _listed(ids: Iterable[str]) -> str:
    return ", ".join(sorted(set(ids)))
