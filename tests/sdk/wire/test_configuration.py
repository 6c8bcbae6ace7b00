"""What a configuration says about the broker is done or refused, never passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from lepton_sdk.wire.configuration import broker_transport, read_configuration
from lepton_targets.errors import UsageError


def broker(folder: Path, text: str) -> None:
    path = folder / "role.toml"
    path.write_text(f"[broker]\n{text}\n")
    broker_transport(read_configuration(path).section("broker"), "client")


@pytest.mark.parametrize("key", ["certificate", "private_key"])
def test_a_certificate_without_an_authority_is_not_taken_for_no_encryption(tmp_path: Path, key: str) -> None:
    with pytest.raises(UsageError, match="nothing would be encrypted"):
        broker(tmp_path, f'{key} = "client.pem"')


def test_a_password_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read broker.password_file .*secret"):
        broker(tmp_path, 'username = "server"\npassword_file = "secret"')


def test_a_plain_broker_needs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "role.toml"
    path.write_text('[broker]\nhost = "broker.local"\nport = 1884\n')
    transport, timeout_s = broker_transport(read_configuration(path).section("broker"), "client")
    assert (transport.host, transport.port, timeout_s) == ("broker.local", 1884, 30.0)
