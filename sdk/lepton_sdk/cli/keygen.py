"""`lepton keygen`: a key pair to sign bundles with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lepton_sdk.cli.output import print_json, work_is_done


def keygen(
    output: Annotated[Path, typer.Option("--output", "-o", help="Private key to write, KEY.pem.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make an Ed25519 key: KEY.pem (keep it secret) and KEY.pub.pem (give it to devices)."""
    from lepton_sdk.bundle.signing import generate_key
    from lepton_sdk.output_file import check_output

    public, identity = generate_key(check_output(output))
    with work_is_done():
        if as_json:
            print_json({"private_key": str(output), "public_key": str(public), "key_id": identity})
            return
        print(
            f"key {identity}\n  private: {output} (mode 0600; whoever has it can sign)\n  public:  {public}"
        )
