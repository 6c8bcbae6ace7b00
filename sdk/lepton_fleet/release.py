"""Publishing a release: the bundle becomes blobs, a counter that only grows, and a signed statement."""

from __future__ import annotations

from pathlib import Path

from lepton_fleet.home import FleetHome
from lepton_sdk.agent.shadow import ReleaseStatement, sign_statement
from lepton_sdk.bundle import Bundle, thin
from lepton_sdk.wire.identity import Identity
from lepton_targets.errors import UsageError


def publish(
    home: FleetHome, bundle_path: Path, publisher_key: Path, name: str | None = None
) -> ReleaseStatement:
    """Publish a signed bundle as the next release; each target's devices get a file without the others' code.

    publisher_key: private PEM of the key that signed the bundle. Raises BundleFormatError, SignatureError
    (unsigned, or signed by another key), UsageError (no code in it).
    """
    publisher = Identity.load(publisher_key)
    bundle = Bundle.open(bundle_path)
    bundle.verify_signature([_public_of(publisher_key)])
    targets = [artifact.target for artifact in bundle.artifacts]
    if not targets:
        raise UsageError(
            f"{bundle_path} has code for no target, so no device could run it",
            "compile it with --target NAME for the fleet's CPUs",
        )
    files = {
        target: Path(bundle_path).read_bytes() if len(targets) == 1 else thin(bundle, target)
        for target in targets
    }
    with home.lock("releases"):
        statement = ReleaseStatement(
            tenant=home.settings.tenant,
            name=name or bundle.manifest.name,
            counter=home.highest_counter() + 1,
            digest=bundle.digest,
            file_sha256={target: home.blobs.put(content).hex() for target, content in files.items()},
            file_bytes={target: len(content) for target, content in files.items()},
        )
        home.save_release(statement.counter, sign_statement(statement, publisher))
    return statement


def _public_of(private: Path) -> Path:
    return private.with_suffix(".pub.pem")
