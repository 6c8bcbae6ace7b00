"""Makes Ed25519 keys and signs with them; checking a signature is trust.py.

A private key is PKCS8 PEM of mode 0600; its public half is PEM beside it as KEY.pub.pem.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lepton_sdk.bundle.trailer import ED25519, Signature
from lepton_sdk.bundle.trust import key_id, read_key
from lepton_sdk.durable import write_durably
from lepton_targets.errors import BadInputError, UsageError


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
    return public_path, key_id(key.public_key().public_bytes_raw())


def load_signing_key(path: Path | str) -> Ed25519PrivateKey:
    """The private key in that file. Raises BadInputError for other content, or others who can read it."""
    path = Path(path)
    content = read_key(path)
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        found = (
            "holds a public key" if b"PUBLIC KEY" in content else "is no unencrypted PKCS8 PEM private key"
        )
        raise BadInputError(
            f"{path} {found}; an Ed25519 private key is needed to sign",
            "`lepton keygen -o KEY.pem` makes one",
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInputError(
            f"{path} holds {type(key).__name__}; an Ed25519 key is expected",
            "`lepton keygen -o KEY.pem` makes one",
        )
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise BadInputError(f"the private key {path} can be read by others", f"protect it:  chmod 600 {path}")
    return key


def sign_manifest(manifest: bytes, signing_key: Path | str) -> Signature:
    """Sign the manifest's bytes with the private key in that file. Raises BadInputError."""
    key = load_signing_key(signing_key)
    return Signature(ED25519, key_id(key.public_key().public_bytes_raw()), key.sign(manifest).hex())
