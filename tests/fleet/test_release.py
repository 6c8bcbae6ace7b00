"""Publishing: only what the publisher signed, counters that only grow, thin files, checked settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from lepton_fleet.home import FleetHome, FleetSettings
from lepton_fleet.release import publish
from lepton_sdk.bundle import Bundle
from lepton_sdk.wire.identity import Identity
from lepton_targets.errors import BadInputError, SignatureError, UnavailableError, UsageError
from support import bundles
from support.command_line import lepton


@pytest.fixture
def key(tmp_path: Path) -> Path:
    Identity.load_or_create(tmp_path / "publisher.pem")
    return tmp_path / "publisher.pem"


@pytest.fixture
def home(tmp_path: Path) -> FleetHome:
    return FleetHome.create(tmp_path / "fleet", FleetSettings(tenant="plant"))


def test_counters_grow_and_the_release_names_the_bundle(tmp_path: Path, home: FleetHome, key: Path) -> None:
    path = bundles.write(tmp_path / "tiny.lep", key=key)
    assert [publish(home, path, key).counter for _ in range(3)] == [1, 2, 3]
    release, _ = FleetHome(home.folder).release()
    assert (release.counter, release.name, release.digest) == (3, "tiny", Bundle.open(path).digest)
    with pytest.raises(UsageError, match="no release 9"):
        home.release(9)


def test_each_target_gets_a_file_without_the_others_code(tmp_path: Path, home: FleetHome, key: Path) -> None:
    path = bundles.write(tmp_path / "tiny.lep", key=key, targets=("x86-64", "cortex-a53"))
    release = publish(home, path, key).release()
    for target, blob in release.files.items():
        content = home.blobs.get(bytes.fromhex(blob.sha256))
        thin = Bundle(memoryview(content))
        assert (thin.digest, len(content)) == (release.digest, blob.size)
        assert [artifact.target for artifact in thin.artifacts] == [target]
        assert thin.verify_signature([key.with_suffix(".pub.pem")])


def test_a_bundle_the_publisher_did_not_sign_is_not_published(
    tmp_path: Path, home: FleetHome, key: Path
) -> None:
    stranger = tmp_path / "stranger.pem"
    Identity.load_or_create(stranger)
    for signer in (None, stranger):
        with pytest.raises(SignatureError):
            publish(home, bundles.write(tmp_path / "tiny.lep", key=signer), key)
    assert home.highest_counter() == 0


def test_a_fleets_folder_is_made_once_and_never_twice(tmp_path: Path, home: FleetHome) -> None:
    with pytest.raises(UsageError, match="already"):
        FleetHome.create(home.folder, FleetSettings())
    with pytest.raises(UnavailableError, match="no fleet's folder"):
        FleetHome(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("tenant = 5", "str is accepted"),
        ("tenent = 'a'", "did you mean tenant"),
        ("[broker]\nprot = 1883", "did you mean port"),
        ("[broker", "TOML"),
        ("broker = 5", "broker"),
    ],
)
def test_wrong_settings_are_named(home: FleetHome, text: str, match: str) -> None:
    (home.folder / "fleet.toml").write_text(text)
    with pytest.raises(UsageError, match=match):
        FleetHome(home.folder)


def test_sequences_are_given_once_and_a_second_process_is_kept_out(home: FleetHome) -> None:
    assert [home.next_sequence() for _ in range(3)] == [1, 3, 5]
    with (
        home.lock("rollouts"),
        pytest.raises(UnavailableError, match="another process"),
        FleetHome(home.folder).lock("rollouts"),
    ):
        pass


def test_enrolling_puts_a_checked_key_under_the_devices_id(tmp_path: Path, home: FleetHome) -> None:
    identities = [Identity.generate(), Identity.generate()]
    for number, identity in enumerate(identities):
        identity.save(tmp_path / f"device{number}.pem")
    keys = [tmp_path / "device0.pub.pem", tmp_path / "device1.pub.pem"]
    allow = home.allow()
    assert not allow.keys
    with pytest.raises(BadInputError, match="no PEM public key"):
        home.enrol([keys[0], tmp_path / "device1.pem"])
    assert not allow.keys, "all or none"
    for _ in range(2):
        assert [device for device, _ in home.enrol(keys)] == [each.device_id for each in identities]
    assert set(allow.keys) == {each.device_id for each in identities}


def test_the_command_enrols_and_init_says_how_to_go_on(tmp_path: Path) -> None:
    Identity.load_or_create(tmp_path / "device.pem")
    made = lepton("fleet", "init", "here", "--broker", "broker.local:1884", cwd=tmp_path)
    for part in ("lepton fleet enrol", 'host = "broker.local"', "port = 1884", "examples/device.toml"):
        assert part in made.out
    device = Identity.load(tmp_path / "device.pem").device_id
    done = lepton("fleet", "enrol", "device.pub.pem", "--home", "here", "--json", cwd=tmp_path)
    assert done.json == {"enrolled": [{"device": device, "key": f"here/devices/{device}.pub.pem"}]}
    refused = lepton("fleet", "enrol", "device.pem", "--home", "here", "--json", cwd=tmp_path, check=False)
    assert refused.code == 3


def test_the_broker_of_the_settings_may_want_a_password_and_tls(tmp_path: Path) -> None:
    home = FleetHome.create(tmp_path / "fleet", FleetSettings())
    secrets = 'username = "server"\npassword_file = "secret"\nauthority = "ca.pem"\n'
    broker = f'[broker]\nhost = "b"\nport = 8883\n{secrets}'
    (home.folder / "fleet.toml").write_text(broker)
    found = FleetHome(home.folder).broker
    assert (found.host, found.port, found.username) == ("b", 8883, "server")
    assert found.password_file == home.folder / "secret"
    assert found.tls is not None
