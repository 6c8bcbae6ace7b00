"""Ed25519 keys and signatures. Only signing and checking trust import this, for it loads `cryptography`.

A private key is PKCS8 PEM of mode 0600; its public half is PEM beside it as KEY.pub.pem. A key's id is the
first 16 hexadecimal digits of the SHA-256 of its 32 raw public bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lepton_sdk.bundle.trailer import ED25519, Signature
from lepton_sdk.durable import write_durably
from lepton_targets.errors import BadInputError, SignatureError, UsageError


def generate_key(path: Path | str) -> tuple[Path, str]:
    """Write a new private key to `path`, its public half beside it; returns the public path and the key id.

    Raises UsageError where a file stands already: a key that signed something is never overwritten.
    """
    path = Path(path)
    public_path = path.with_name(path.stem + ".pub.pem")
    for existing in (path, public_path):
        if existing.exists():
            raise UsageError(
                f"{existing} exists already; keys are never overwritten", "choose another name with -o"
            )
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    write_durably(path, private, mode=0o600)
    write_durably(public_path, public)
    return public_path, key_id(key.public_key())


def key_id(key: Ed25519PublicKey) -> str:
    """First 16 hexadecimal digits of SHA-256 over the raw public key."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def sign_manifest(manifest: bytes, signing_key: Path | str) -> Signature:
    """Sign the manifest's bytes with the private key in that file. Raises BadInputError."""
    path = Path(signing_key)
    if os.name == "posix" and path.exists() and path.stat().st_mode & 0o077:
        raise BadInputError(f"the private key {path} can be read by others", f"protect it:  chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadInputError(f"{path} is not an unencrypted PKCS8 PEM private key: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInputError(
            f"{path} holds {type(key).__name__}; an Ed25519 key is expected", "make one:  lepton keygen"
        )
    return Signature(ED25519, key_id(key.public_key()), key.sign(manifest).hex())


def load_public_key(path: Path | str) -> Ed25519PublicKey:
    """The Ed25519 public key in a PEM file. Raises BadInputError."""
    try:
        key = serialization.load_pem_public_key(_read(Path(path)))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadInputError(f"{path} is not a PEM public key: {error}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise BadInputError(f"{path} holds {type(key).__name__}; an Ed25519 public key is expected")
    return key


def verify_manifest(manifest: bytes, signatures: Sequence[Signature], trust: Sequence[Path | str]) -> str:
    """Id of a trusted key whose signature over `manifest` is right.

    Raises SignatureError where there is none, where it is wrong, or where nobody is trusted.
    """
    keys = {key_id(key): key for key in map(load_public_key, trust)}
    if not keys:
        raise SignatureError("a signature is required, but no trusted public key was given")
    if not signatures:
        raise SignatureError(
            "the bundle is not signed, and a signature is required", f"trusted: {_listed(keys)}"
        )
    for signature in signatures:
        if signature.algorithm != ED25519 or signature.key_id not in keys:
            continue
        try:
            keys[signature.key_id].verify(bytes.fromhex(signature.signature), manifest)
        except InvalidSignature:
            raise SignatureError(
                f"the bundle's signature by key {signature.key_id} is wrong",
                "its manifest was altered after signing, or another key claimed this id",
            ) from None
        return signature.key_id
    raise SignatureError(
        "the bundle is not signed by a trusted key",
        f"signed by: {_listed(signature.key_id for signature in signatures)}",
        f"trusted: {_listed(keys)}",
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInputError(f"cannot read the key {path}: {error.strerror}") from None


def _listed(ids: object) -> str:
    return ", ".join(sorted(set(ids)))  # type: ignore[call-overload]
