"""`lepton inspect`: what a bundle holds, down to its layers and instructions."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lepton_sdk.cli.output import counted, print_json, print_table
from lepton_targets.errors import UnavailableError, UsageError, nearest

if TYPE_CHECKING:
    from lepton_sdk.bundle import Artifact, Bundle

_DISASSEMBLERS = ("llvm-objdump", "objdump")


def inspect(
    bundle: Annotated[Path, typer.Argument(help="Bundle to read.")],
    layers: Annotated[bool, typer.Option("--layers", help="List every operation.")] = False,
    disassemble: Annotated[bool, typer.Option("--disassemble", help="Print the machine code.")] = False,
    target: Annotated[
        str | None, typer.Option(help="Whose code to disassemble; this machine's without it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show a bundle's functions, sizes, targets, signatures, origin."""
    from lepton_sdk.bundle.reader import Bundle

    if target is not None and not disassemble:
        raise UsageError("--target says whose code to disassemble", "add  --disassemble")
    opened = Bundle.open(bundle)
    report = _report(opened, bundle)
    if layers:
        from lepton_sdk.program.table import rows

        program = opened.program()
        report["layers"] = {name: rows(program, name) for name in program.functions}
    if disassemble:
        artifact = _artifact(opened, target)
        report["disassembly"] = {"target": artifact.target, "text": _disassembly(opened, artifact)}
    if as_json:
        print_json(report)
    else:
        _print(report)


def _report(bundle: Bundle, path: Path) -> dict[str, Any]:
    manifest = bundle.manifest
    sizes = {segment.name: segment.bytes for segment in manifest.segments}
    present = {artifact.target for artifact in bundle.artifacts}
    return {
        "bundle": path.name,
        "bytes": bundle.nbytes,
        "digest": bundle.digest,
        "format": f"{manifest.format.major}.{manifest.format.minor}",
        "arithmetic": manifest.arithmetic,
        "name": manifest.name,
        "kind": manifest.kind,
        "reference": manifest.reference,
        "thin": bundle.thin,
        "signed_by": [signature.key_id for signature in bundle.signatures],
        "model": manifest.model.as_dict(),
        "provenance": manifest.provenance.as_dict(),
        "functions": {
            name: {"inputs": [str(t) for t in f.inputs], "outputs": [str(t) for t in f.outputs]}
            for name, f in manifest.functions.items()
        },
        "variables": [
            {"name": v.name, "shape": list(v.shape), "dtype": v.dtype, "trainable": v.trainable}
            for v in manifest.variables
        ],
        "labels": list(manifest.labels) if manifest.labels is not None else None,
        "golden_vectors": len(manifest.golden),
        "artifacts": [
            {
                "target": a.target,
                "present": a.target in present,
                "precision": manifest.precision(a.target),
                "code_bytes": sizes[a.code],
                "weights_bytes": sizes[a.weights] if a.weights else 0,
                "variables_bytes": a.variables.bytes if a.variables else 0,
                "arena_bytes": {name: entry.arena_bytes for name, entry in a.functions.items()},
            }
            for a in manifest.artifacts
        ],
        "segments": [segment.as_dict() for segment in manifest.segments],
    }


def _artifact(bundle: Bundle, target: str | None) -> Artifact:
    found = {artifact.target: artifact for artifact in bundle.artifacts}
    if target is None:
        from lepton_sdk.engines.selection import best_artifact

        try:
            return best_artifact(bundle)
        except UnavailableError:
            raise UnavailableError(
                f"{bundle.path} has no code for this CPU to disassemble",
                f"name whose code to show:  --target {' or --target '.join(found)}"
                if found
                else "nor any other",
            ) from None
    if target not in found:
        raise UsageError(
            f"{bundle.path} has no code for '{target}'{nearest(target, found)}",
            f"it has: {', '.join(found) or 'none'}",
        )
    return found[target]


def _disassembly(bundle: Bundle, artifact: Artifact) -> str:
    program = next((path for path in map(shutil.which, _DISASSEMBLERS) if path), None)
    if program is None:
        raise UnavailableError(
            f"--disassemble needs one of {', '.join(_DISASSEMBLERS)}, and none is installed",
            "install the system's package 'binutils' or 'llvm'",
        )
    with tempfile.NamedTemporaryFile(suffix=".so") as file:
        file.write(bundle.segment(artifact.code))
        file.flush()
        command = [program, "-d", "--no-show-raw-insn", file.name]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise UnavailableError(
            f"{Path(program).name} cannot read the code for {artifact.target}: {done.stderr.strip()}",
            "an objdump for that architecture is needed (llvm-objdump knows all)",
        )
    # The first lines name the temporary file.
    return done.stdout.split("\n\n", 2)[-1]


def _print(report: dict[str, Any]) -> None:
    print(f"{report['name']}: {report['kind']}, {report['bytes']:,} bytes, digest {report['digest'][:16]}…")
    print(f"  from {report['model']['source_format']} {report['model']['source_sha256'][:16]}…")
    print(f"  by {report['provenance']['compiler']} with TVM {report['provenance']['tvm']}")
    signers, vectors = ", ".join(report["signed_by"]) or "nobody", report["golden_vectors"]
    print(f"  signed by {signers}; {counted(vectors, 'golden vector')}")
    for name, function in report["functions"].items():
        print(f"  {name}({', '.join(function['inputs'])}) → {', '.join(function['outputs']) or 'nothing'}")
    if report["artifacts"]:
        print()
        print_table(
            ("target", "precision", "code B", "weights B", "variables B", "arena B", "in this file"),
            [
                (
                    a["target"],
                    a["precision"] or report["kind"],
                    a["code_bytes"],
                    a["weights_bytes"],
                    a["variables_bytes"],
                    max(a["arena_bytes"].values(), default=0),
                    a["present"],
                )
                for a in report["artifacts"]
            ],
        )
    for name, rows in report.get("layers", {}).items():
        print()
        columns = ("step", "operation", "output", "result", "macs", "bytes")
        print_table(columns, [tuple(row[column] for column in columns) for row in rows], title=name)
    if "disassembly" in report:
        print(report["disassembly"]["text"])
