"""Keys: a device's name is the hash of its key; signatures cover exactly one message."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from lepton_sdk.wire.identity import AllowList, Identity, PublicKey
from lepton_sdk.wire.update import Receipt
from lepton_targets.errors import BadInputError, SignatureError, UnavailableError


def test_the_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    first = Identity.load_or_create(tmp_path / "device.pem")
    assert Identity.load_or_create(tmp_path / "device.pem").device_id == first.device_id
    assert (tmp_path / "device.pem").stat().st_mode & 0o777 == 0o600
    assert PublicKey.load(tmp_path / "device.pub.pem").raw == first.public.raw
    assert first.device_id == hashlib.sha256(first.public.raw).hexdigest()[:16]
    assert (tmp_path / "device.pem").read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")


def test_an_altered_or_foreign_message_is_refused() -> None:
    server, other = Identity.generate(), Identity.generate()
    receipt = server.sign(Receipt("acme", "0" * 16, bytes(16), "accepted", ""))
    server.public.verify(receipt)
    for forged in (dataclasses.replace(receipt, status="rejected"), dataclasses.replace(receipt, sig=b"")):
        with pytest.raises(SignatureError):
            server.public.verify(forged)
    with pytest.raises(SignatureError):
        other.public.verify(receipt)


def test_what_is_no_key_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no key")
    os.chmod(broken, 0o600)
    with pytest.raises(BadInputError, match="PKCS8"):
        Identity.load(broken)
    with pytest.raises(BadInputError, match="public key"):
        PublicKey.load(broken)
    with pytest.raises(UnavailableError):
        PublicKey.load(tmp_path / "absent.pem")
    Identity.generate().save(tmp_path / "open.pem")
    os.chmod(tmp_path / "open.pem", 0o644)
    with pytest.raises(BadInputError, match="chmod 600"):
        Identity.load(tmp_path / "open.pem")
    with pytest.raises(BadInputError, match="32 bytes"):
        PublicKey.from_raw(b"short")


def test_the_allow_list_follows_its_folder(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        AllowList(folder=tmp_path / "absent")
    allow = AllowList(folder=tmp_path)
    identity = Identity.generate()
    assert allow.get(identity.device_id) is None
    identity.save(tmp_path / "a.pem")
    key = allow.get(identity.device_id)
    assert key is not None
    assert key.raw == identity.public.raw
    (tmp_path / "a.pub.pem").unlink()
    assert allow.get(identity.device_id) is None


def test_a_folder_of_keys_that_went_away_accepts_nobody_and_ends_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "devices"
    identity, given = Identity.generate(), Identity.generate()
    identity.save(folder / "a.pem")
    allow = AllowList([given.public], folder)
    assert allow.get(identity.device_id) is not None
    shutil.move(folder, tmp_path / "elsewhere")
    assert allow.get(identity.device_id) is None
    assert allow.get(given.device_id) is not None
    shutil.move(tmp_path / "elsewhere", folder)
    assert allow.get(identity.device_id) is not None
