"""Which of a bundle's artifacts this CPU should run."""

from __future__ import annotations

from lepton_sdk.bundle.manifest import Artifact
from lepton_sdk.bundle.reader import Bundle
from lepton_targets.cpus import CPUS
from lepton_targets.errors import UnavailableError, UsageError, nearest
from lepton_targets.host import host, machine, runs_here


def best_artifact(bundle: Bundle) -> Artifact:
    """The artifact of the best CPU row that this machine executes; the table is ordered, later is better.

    Raises UnavailableError that names what the bundle has and what this CPU is.
    """
    artifacts = {artifact.target: artifact for artifact in bundle.artifacts}
    runnable = _runnable()
    for name in reversed(runnable):
        if name in artifacts:
            return artifacts[name]
    raise UnavailableError(
        f"{bundle.path} has no code for this CPU",
        *_both(bundle),
        f"compile it with --target {runnable[-1]}, or" if runnable else "",
        "run it anywhere, slowly, with the engine 'reference'",
    )


def artifact_for(bundle: Bundle, target: str) -> Artifact:
    """The artifact of that target, `host` being this machine's best row.

    Raises UsageError where the bundle has none, UnavailableError where this CPU does not run its code; both
    name what the bundle has and what this CPU is.
    """
    artifacts = {artifact.target: artifact for artifact in bundle.artifacts}
    name = host().name if target == "host" else target
    if name not in artifacts:
        raise UsageError(f"{bundle.path} has no code for '{name}'{nearest(name, artifacts)}", *_both(bundle))
    if name not in _runnable():
        raise UnavailableError(f"this CPU does not run the code for {name}", *_both(bundle))
    return artifacts[name]


def _runnable() -> list[str]:
    return [cpu.name for cpu in CPUS if runs_here(cpu)]


def _both(bundle: Bundle) -> tuple[str, str]:
    """What the bundle has, what this CPU is."""
    held = ", ".join(artifact.target for artifact in bundle.artifacts) or "no code at all"
    runnable = ", ".join(_runnable())
    here = f"a {machine()} that runs {runnable}" if runnable else f"a {machine()}, which no target fits"
    return f"it has: {held}" + (" (thin bundle)" if bundle.thin else ""), f"this CPU is {here}"
