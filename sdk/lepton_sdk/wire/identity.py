"""Ed25519 keys: a device's name is the hash of its public key, made at its first start.

The device id is the first 16 hexadecimal digits of the SHA-256 of the raw 32-byte public key. Signatures
are Ed25519 (RFC 8032) over a message's deterministic CBOR without the field `sig`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from lepton_sdk.durable import write_durably
from lepton_sdk.wire.codec import Message, signed_bytes
from lepton_targets.errors import BadInputError, LeptonError, SignatureError, UnavailableError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

logger = logging.getLogger(__name__)


class Signed(Message, Protocol):
    """A message with a signature; b"" until it is signed."""

    @property
    def sig(self) -> bytes: ...


S = TypeVar("S", bound=Signed)


def key_id(public_bytes: bytes) -> str:
    """16 hexadecimal digits that name the raw 32-byte public key."""
    return hashlib.sha256(public_bytes).hexdigest()[:16]


class PublicKey:
    """The other side's key: checks what it signed. `id` is its device id (or key id)."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        self.raw = key.public_bytes_raw()
        self.id = key_id(self.raw)

    @classmethod
    def load(cls, path: Path | str) -> PublicKey:
        """Read a PEM public key. Raises UnavailableError (no file) or BadInputError (not Ed25519 PEM)."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        try:
            key = load_pem_public_key(_read_key(Path(path)))
        except (ValueError, UnsupportedAlgorithm) as error:
            raise BadInputError(f"{path} holds no PEM public key ({error})") from error
        if not isinstance(key, Ed25519PublicKey):
            raise BadInputError(f"{path} holds a {type(key).__name__}; Ed25519 is accepted")
        return cls(key)

    @classmethod
    def from_raw(cls, raw: bytes) -> PublicKey:
        """From the raw 32 bytes. Raises BadInputError for another length."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        if len(raw) != 32:
            raise BadInputError(f"a raw Ed25519 public key has 32 bytes, {len(raw)} found")
        return cls(Ed25519PublicKey.from_public_bytes(raw))

    def verify(self, message: Signed) -> None:
        """Raises SignatureError unless this key signed exactly this message."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(message.sig, signed_bytes(message))
        except InvalidSignature as error:
            raise SignatureError(f"{message.kind}: the signature is not by key {self.id}") from error


class Identity:
    """This side's private key. `device_id` names it; `public` is what the other side holds."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key())
        self.device_id = self.public.id

    @classmethod
    def generate(cls) -> Identity:
        """A new key that is kept nowhere."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load_or_create(cls, path: Path | str) -> Identity:
        """The key in `path` (PKCS8 PEM, mode 0600), made at the first start; KEY.pub.pem lies beside it."""
        path = Path(path)
        if path.exists():
            return cls.load(path)
        identity = cls.generate()
        identity.save(path)
        return identity

    @classmethod
    def load(cls, path: Path | str) -> Identity:
        """Read a key. Raises UnavailableError (no file) or BadInputError (no Ed25519 PEM, open mode)."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        path = Path(path)
        pem = _read_key(path)
        if path.stat().st_mode & 0o077:
            raise BadInputError(f"{path} can be read by others", f"make it private:  chmod 600 {path}")
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise BadInputError(f"{path} holds no PKCS8 PEM private key ({error})") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise BadInputError(f"{path} holds a {type(key).__name__}; Ed25519 is accepted")
        return cls(key)

    def save(self, path: Path) -> None:
        """Write the private key to `path` (0600) and the public one beside it, KEY.pem → KEY.pub.pem."""
        from cryptography.hazmat.primitives import serialization as form

        public = self._key.public_key().public_bytes(
            form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
        )
        private = self._key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
        write_durably(path.with_suffix(".pub.pem"), public)
        write_durably(path, private, mode=0o600)

    def sign(self, message: S) -> S:
        """A copy of `message` whose `sig` is this key's signature."""
        signature = self._key.sign(signed_bytes(message))
        return dataclasses.replace(message, sig=signature)


class AllowList:
    """The device keys a server accepts: given ones, or a folder of *.pub.pem that is read again whenever a
    file is added or removed, so that enrolling and expelling a device need no restart. A folder that can't be
    read any more accepts nobody."""

    def __init__(self, keys: Iterable[PublicKey] = (), folder: Path | None = None) -> None:
        """Raises UnavailableError (no such folder) or BadInputError (a file in it that is no key)."""
        self._given = {key.id: key for key in keys}
        self._folder = folder
        self._read_at = -1
        self._keys = dict(self._given)
        if folder is not None:
            if not folder.is_dir():
                raise UnavailableError(f"the folder of allowed device keys, {folder}, does not exist")
            for path in folder.glob("*.pub.pem"):
                PublicKey.load(path)

    def get(self, device: str) -> PublicKey | None:
        """The key of `device`, or None for a device that is not allowed."""
        return self.keys.get(device)

    @property
    def keys(self) -> Mapping[str, PublicKey]:
        """Every accepted key by device id."""
        if self._folder is not None:
            try:
                changed = self._folder.stat().st_mtime_ns
            except OSError as error:
                logger.error("no device of %s is accepted now: %s", self._folder, error)
                return self._given
            if changed != self._read_at:
                self._read_at = changed
                self._keys = {**self._given, **self._in_folder(self._folder)}
        return self._keys

    @staticmethod
    def _in_folder(folder: Path) -> dict[str, PublicKey]:
        found = {}
        for path in sorted(folder.glob("*.pub.pem")):
            try:
                key = PublicKey.load(path)
            except LeptonError as error:
                logger.warning("device key ignored: %s", error.message)
            else:
                found[key.id] = key
        return found


def _read_key(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnavailableError(f"cannot read key {path}: {error.strerror}") from error
