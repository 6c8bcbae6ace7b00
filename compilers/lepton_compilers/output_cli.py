"""What `lepton compile` shows: the step under way, plans, what was written."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lepton_sdk.cli.output import counted, print_json, work_is_done

if TYPE_CHECKING:
    from lepton_compilers.passes.record import PassRecord
    from lepton_compilers.tuning.request import TuningRequest
    from lepton_sdk.bundle import Bundle
    from lepton_sdk.program import Program
    from lepton_targets import Target


def print_project(
    folder: Path,
    files: Sequence[Path],
    passes: Sequence[PassRecord] | None,
    as_json: bool,
    searched: dict[str, Any],
) -> None:
    """The files of a C project. searched: what searches found, by their names."""
    with work_is_done():
        if as_json:
            listed = [{"path": str(f.relative_to(folder)), "bytes": f.stat().st_size} for f in files]
            print_json({"folder": folder.name, "files": listed} | searched | _listed(passes))
            return
        _print_passes(passes)
        source, build = (shlex.quote(str(path)) for path in (folder, folder / "build"))
        print(f"{folder}: {counted(len(files), 'file')}; build it:  cmake -S {source} -B {build}")


def print_written(
    bundle: Bundle,
    output: Path,
    seconds: float,
    passes: Sequence[PassRecord] | None,
    as_json: bool,
    searched: dict[str, Any],
) -> None:
    """The bundle's artifacts and their sizes."""
    summary = _summary(bundle, output, seconds)
    with work_is_done():
        if as_json:
            print_json(summary | searched | _listed(passes))
            return
        _print_passes(passes)
        sizes = ", ".join(
            f"{a['target']}{_multiplying(a)} {a['code_bytes'] + a['weights_bytes']:,} B"
            for a in summary["artifacts"]
        )
        print(
            f"{output}: {summary['kind']}, {summary['macs']:,} MACs, {summary['bytes']:,} B "
            f"({sizes}) in {seconds:.1f} s"
        )


def _multiplying(artifact: Mapping[str, Any]) -> str:
    return "" if artifact["precision"] is None else f" in {artifact['precision']}"


def print_plans(
    program: Program,
    rows: Sequence[Target],
    precisions: Mapping[str, str],
    request: TuningRequest | None,
    passes: Sequence[PassRecord] | None,
    as_json: bool,
    searched: dict[str, Any],
) -> None:
    """The program and what each target would run."""
    from lepton_compilers.backends import backend_for
    from lepton_sdk.program.table import show

    # Only CPUs have tiles, so only their back end takes a choice.
    chosen = [() if request is None else (request.known.choice(row.name),) for row in rows]
    estimates = [
        backend_for(row).estimate(program, row, *choice, precision=precisions[row.name])
        for row, choice in zip(rows, chosen, strict=True)
    ]
    if as_json:
        fields: dict[str, Any] = {"estimates": [dataclasses.asdict(estimate) for estimate in estimates]}
        print_json(fields | searched | _listed(passes))
        return
    _print_passes(passes)
    print(show(program))
    for estimate in estimates:
        print(f"\n{estimate.target}: {estimate.weights_bytes:,} bytes of weights")
        for text in estimate.plan.values():
            print(text)


def _print_passes(passes: Sequence[PassRecord] | None) -> None:
    width = max((len(record.name) for record in passes or ()), default=0)
    for record in passes or ():
        print(f"  {record.name:<{width}} {record.seconds * 1e3:8.1f} ms  {record.change}")


def _listed(passes: Sequence[PassRecord] | None) -> dict[str, Any]:
    if passes is None:
        return {}
    return {"passes": [{"name": p.name, "seconds": p.seconds, "change": p.change} for p in passes]}


def _summary(bundle: Bundle, output: Path, seconds: float) -> dict[str, Any]:
    manifest = bundle.manifest
    size = {segment.name: segment.bytes for segment in manifest.segments}
    return {
        "bundle": output.name,
        "digest": bundle.digest,
        "name": manifest.name,
        "kind": manifest.kind,
        "functions": list(manifest.functions),
        "macs": bundle.program().macs(),
        "bytes": output.stat().st_size,
        "artifacts": [
            {
                "target": a.target,
                "precision": manifest.precision(a.target),
                "code_bytes": size[a.code],
                "weights_bytes": size[a.weights] if a.weights else 0,
                "arena_bytes": max(f.arena_bytes for f in a.functions.values()),
            }
            for a in manifest.artifacts
        ],
        "seconds": round(seconds, 3),
    }


class Progress:
    """A line on the terminal that names the step under way; silent with --json or without a terminal."""

    def __init__(self, silent: bool) -> None:
        self._status: Any = None
        if not silent and sys.stderr.isatty():
            from rich.console import Console

            self._status = Console(stderr=True).status("compile")

    def __enter__(self) -> Any:
        if self._status is None:
            return lambda step: None
        self._status.start()
        return self._status.update

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()
