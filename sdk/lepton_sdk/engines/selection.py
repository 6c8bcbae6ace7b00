"""Which of a bundle's artifacts this CPU should run."""

from __future__ import annotations

from lepton_sdk.bundle.manifest import Artifact
from lepton_sdk.bundle.reader import Bundle
from lepton_targets.cpus import CPUS
from lepton_targets.errors import UnavailableError
from lepton_targets.host import machine, runs_here


def best_artifact(bundle: Bundle) -> Artifact:
    """The artifact of the best CPU row that this machine executes; the table is ordered, later is better.

    Raises UnavailableError that names what the bundle has and what this CPU is.
    """
    artifacts = {artifact.target: artifact for artifact in bundle.artifacts}
    runnable = [cpu.name for cpu in CPUS if runs_here(cpu)]
    for name in reversed(runnable):
        if name in artifacts:
            return artifacts[name]
    here = (
        f"a {machine()} that runs {', '.join(runnable)}"
        if runnable
        else f"a {machine()}, which no target fits"
    )
    raise UnavailableError(
        f"{bundle.path} has no code for this CPU",
        f"it has: {', '.join(artifacts) or 'no code at all'}" + (" (thin bundle)" if bundle.thin else ""),
        f"this CPU is {here}",
        f"compile it with --target {runnable[-1]}, or" if runnable else "",
        "run it anywhere, slowly, with the engine 'reference'",
    )
