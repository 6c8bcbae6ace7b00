"""`lepton verify`: is this file whole, signed by someone trusted, and right on this machine?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lepton_sdk.cli.options import TARGET
from lepton_sdk.cli.output import counted, print_json
from lepton_targets.errors import UsageError


def verify(
    bundle: Annotated[Path, typer.Argument(help="Bundle to check.")],
    key: Annotated[
        list[Path] | None, typer.Option(help="Trusted public key (PEM); a signature by one is required.")
    ] = None,
    self_test: Annotated[bool, typer.Option("--self-test", help="Run the golden vectors here.")] = False,
    engine: Annotated[str, typer.Option(help="Engine of the self-test: native or reference.")] = "native",
    target: Annotated[str | None, TARGET] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check every hash; with --key the signature; with --self-test the results on this machine."""
    from lepton_sdk.bundle.reader import Bundle

    if target is not None and not self_test:
        raise UsageError("--target says whose code the self-test runs", "add  --self-test")
    opened = Bundle.open(bundle)
    key_id = opened.verify_signature(key) if key else None
    tested: dict[str, Any] | None = None
    if self_test:
        from lepton_sdk.session import Session

        session = Session(opened, engine=engine, target=target)
        tested = {"engine": engine, "target": session.target, **session.self_test().as_dict()}
    signed_by = [signature.key_id for signature in opened.signatures]
    if as_json:
        print_json(
            {
                "bundle": bundle.name,
                "digest": opened.digest,
                "segments": len(opened.manifest.segments),
                "thin": opened.thin,
                "signed_by": signed_by,
                "key_id": key_id,
                "self_test": tested,
            }
        )
        return
    print(
        f"{bundle}: {counted(len(opened.manifest.segments), 'segment')}, every hash right, "
        f"digest {opened.digest[:16]}…"
    )
    if key_id:
        print(f"  signature by key {key_id}: right")
    else:
        names = ", ".join(signed_by) or "nobody"
        print(f"  signed by {names}; not checked (give a trusted public key with --key)")
    if tested:
        counts = f"{counted(tested['vectors'], 'vector')}, {counted(tested['values'], 'value')}"
        print(f"  self-test on {tested['target']}: {counts}, all right")
