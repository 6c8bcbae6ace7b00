"""Commands by name: where each stands, and whether what it needs is installed.

Own commands and those of other packages (entry-point group `lepton.commands`) are loaded alike, only when
asked for. An entry point names a function or a `typer.Typer`, and in brackets the extras it needs.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from importlib import metadata

from lepton_targets.errors import MissingExtraError, UnavailableError
from lepton_targets.record import Record

GROUP = "lepton.commands"
DISTRIBUTION = "lepton-edge"

_OWN = {
    "targets": "targets:targets",
    "keygen": "keygen:keygen",
    "inspect": "inspect:inspect",
    "verify": "verify:verify",
    "run": "run:run",
    "bench": "bench:bench",
    "eval": "evaluate:evaluate",
    "device": "device:device",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([A-Za-z0-9._-]+)['\"]")
_BRACKETS = re.compile(r"\[([^\]]*)\]")


class Command(Record):
    """A command that may be loaded. reference: `module:attribute`; extras: of this distribution."""

    name: str
    reference: str
    extras: tuple[str, ...] = ()

    def load(self) -> object:
        """The function or Typer app. Raises MissingExtraError or UnavailableError."""
        for extra in self.extras:
            if missing := missing_requirements(extra):
                raise MissingExtraError(f"lepton {self.name}", extra, ", ".join(missing))
        module, _, attribute = self.reference.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise UnavailableError(
                f"the command 'lepton {self.name}' cannot be loaded: {error}",
                f"reinstall it:  pip install --force-reinstall {DISTRIBUTION}",
            ) from error


def commands() -> dict[str, Command]:
    """Every command by name: own ones in their order, then those of entry points by name."""
    own = {name: Command(name, f"lepton_sdk.cli.{place}") for name, place in _OWN.items()}
    plugged = sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name)
    others = {
        entry.name: Command(entry.name, f"{entry.module}:{entry.attr}", tuple(entry.extras))
        for entry in plugged
        if entry.name not in own
    }
    return {**own, **others}


def missing_requirements(extra: str) -> list[str]:
    """Distributions that the extra asks for and that are not installed, in alphabetical order."""
    return sorted({name for name in _requirements(extra, set()) if not _is_installed(name)})


def _requirements(extra: str, seen: set[str]) -> Iterator[str]:
    """Names behind an extra; extras of this distribution inside it are followed."""
    if extra in seen:
        return
    seen.add(extra)
    for requirement in metadata.requires(DISTRIBUTION) or []:
        specifier, _, marker = requirement.partition(";")
        name = _NAME.match(specifier.strip())
        if name is None or extra not in _EXTRA.findall(marker):
            continue
        if _normal(name[0]) != DISTRIBUTION:
            yield name[0]
        elif inner := _BRACKETS.search(specifier):
            for further in inner[1].split(","):
                yield from _requirements(further.strip(), seen)


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
