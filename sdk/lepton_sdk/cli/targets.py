"""`lepton targets`: what can be compiled for, and which of it this machine is."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated, Any

import typer

from lepton_sdk.cli.extensions import missing_requirements
from lepton_sdk.cli.output import print_json, print_table
from lepton_targets import Target, get_target, host
from lepton_targets import targets as all_targets
from lepton_targets.errors import MissingExtraError, UnavailableError, UsageError

BACKENDS = "lepton.backends"


def targets(
    name: Annotated[str | None, typer.Argument(help="One target; all are listed without it.")] = None,
    operations: Annotated[
        bool, typer.Option("--operations", help="List what the target can compute.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List targets, or show one."""
    if operations and name is None:
        raise UsageError("--operations needs a target:  lepton targets NAME --operations")
    here = _host_name()
    rows = [_row(target, here) for target in ((get_target(name),) if name else all_targets())]
    if operations and name is not None:
        rows[0]["operations"] = _operations(get_target(name))
    if as_json:
        print_json({"host": here, "targets": rows})
        return
    print_table(
        ("name", "kind", "what", "available", "this machine"),
        [(r["name"], r["kind"], r["title"], _availability(r), "*" if r["host"] else "") for r in rows],
    )
    if operations:
        print("\n" + "\n".join(rows[0]["operations"]))


def _row(target: Target, here: str | None) -> dict[str, Any]:
    return {
        "name": target.name,
        "kind": target.kind,
        "title": target.title,
        "available": target.available,
        "host": target.name == here,
    }


def _availability(row: dict[str, Any]) -> str:
    return "yes" if row["available"] else "not in this version"


def _host_name() -> str | None:
    try:
        return host().name
    except UnavailableError:
        return None


def _operations(target: Target) -> list[str]:
    """Operations that an installed back end has a form of for the target.

    Raises MissingExtraError for a back end whose extra is not installed, UnavailableError where none compiles
    for the target.
    """
    backends = list(metadata.entry_points(group=BACKENDS))
    for entry in backends:
        for extra in entry.extras:
            if missing := missing_requirements(extra):
                raise MissingExtraError("lepton targets --operations", extra, ", ".join(missing))
        found: list[str] = entry.load().operations(target)
        if found:
            return found
    raise UnavailableError(
        f"no installed back end compiles for {target.name}",
        f"back ends: {', '.join(entry.name for entry in backends) or 'none'}",
    )
