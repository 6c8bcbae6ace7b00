"""What `compile` asks of tuning: tiles by a file, or by a search that the file keeps, for all its targets."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lepton_compilers.artifact import Artifact
from lepton_compilers.backends import cpu as backend
from lepton_compilers.backends.cpu.plans.tile_choice import TileChoice
from lepton_compilers.tuning.records import Tuning, read_tuning
from lepton_compilers.tuning.report import TuningReport
from lepton_compilers.tuning.tune import check_runs_here, tile_uses, tune
from lepton_sdk.cli.output import counted
from lepton_sdk.durable import write_durably
from lepton_sdk.output_file import check_output
from lepton_sdk.program import Program
from lepton_targets import Cpu, Target
from lepton_targets.errors import BadInputError, CheckFailedError, UsageError
from lepton_targets.host import runs_here


@dataclass(frozen=True, slots=True)
class TuningRequest:
    """seconds: of search, for all targets together; None reads only. file: read, and with seconds written.

    known: what the file held. searched: targets to search tiles for.
    """

    seconds: float | None
    file: Path | None
    known: Tuning
    searched: tuple[str, ...]

    def lower(
        self, program: Program, cpu: Cpu, report: Callable[[str], None]
    ) -> tuple[Artifact, TuningReport, TuningRequest]:
        """The program for one target, and the request that knows what was found on the way.

        The file is written as the search goes on, so that whatever ends it loses a few seconds of it.
        Raises KeyboardInterrupt that says what the file holds.
        """
        name = None if self.file is None else self.file.name
        left_out = tuple(self.known.left_out(cpu.name, tile_uses(program, cpu, self.known)))
        if self.seconds is None or cpu.name not in self.searched:
            uses = tuple(tile_uses(program, cpu, self.known))
            artifact = backend.lower(program, cpu, self.choice(cpu))
            return artifact, TuningReport(cpu.name, name, uses, left_out, None), self
        share = self.seconds / len(self.searched)
        latest = self

        def keep(found: Tuning) -> None:
            nonlocal latest
            latest = dataclasses.replace(self, known=found)
            latest._write()

        try:
            tuned = tune(program, cpu, share, self.known, lambda shown: report(str(shown)), keep)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(latest._interrupted()) from None
        except CheckFailedError:
            self._write()
            raise
        keep(tuned.tuning)
        uses = tuple(tile_uses(program, cpu, tuned.tuning))
        told = TuningReport(cpu.name, name if latest.known.entries else None, uses, left_out, tuned)
        return tuned.artifact, told, latest

    def choice(self, cpu: Cpu) -> TileChoice:
        """Tiles by what is known."""
        return self.known.choice(cpu.name)

    def _write(self) -> None:
        """Keep what is known; no file where that is nothing."""
        if self.file is None:
            return
        if self.known.entries:
            write_durably(self.file, self.known.content())
        else:
            self.file.unlink(missing_ok=True)

    def _interrupted(self) -> str:
        """What was kept, and how to go on."""
        if self.file is None or not self.known.entries:
            return "the search for tiles was interrupted before any was measured"
        return (
            f"the search for tiles was interrupted; no code was written, and {self.file} keeps "
            f"{counted(len(self.known.entries), 'layer')}\n"
            "  the same command goes on from there;  --tuning  in place of  --tune SECONDS  compiles by it"
        )


def tuning_request(
    seconds: float | None, file: Path | str | None, rows: Sequence[Target], *sources: Path | str | None
) -> TuningRequest:
    """A request that can be met. sources: files that are read or written beside, which the file must not be.

    Raises UsageError for a target that is no CPU or for seconds that are no time, UnavailableError for one
    that neither runs here nor has entries in the file, BadInputError for the file.
    """
    if seconds is not None and not (seconds > 0 and math.isfinite(seconds)):
        raise UsageError(f"--tune is {seconds}; give the seconds to search for, above 0")
    for row in rows:
        if not isinstance(row, Cpu):
            raise UsageError(
                f"{row.name} has no tiles to tune: it is no CPU", "leave  --tune  and  --tuning  out"
            )
    path = None if file is None else Path(file)
    if path is not None and seconds is not None:
        check_output(path, *sources)
    known = read_tuning(path) if path is not None and (seconds is None or path.exists()) else Tuning()
    covered = {target for target, _ in known.entries}
    searched = []
    for row in rows if seconds is not None else ():
        assert isinstance(row, Cpu)
        if runs_here(row):
            searched.append(row.name)
        elif row.name not in covered:
            check_runs_here(row)
    if seconds is not None and not searched:
        raise UsageError(
            f"there is nothing to search: {path} has tiles for {', '.join(row.name for row in rows)}, "
            "whose code this machine does not run",
            "leave  --tune  out to compile with the file",
        )
    return TuningRequest(seconds, path, known, tuple(searched))


def tiles_sha256(reports: Sequence[TuningReport]) -> str:
    """Hash over the tiles that are not the table's, by target, in the order of the plans."""
    changed = [[told.target, str(use.layer), use.chosen] for told in reports for use in told.changed]
    return hashlib.sha256(json.dumps(changed).encode()).hexdigest()


def beside(output: Path) -> Path:
    """Where a search is kept unless a file is named: MODEL.tuning.json for MODEL.lep."""
    stem = output.name.removesuffix(".lep")
    if not stem:
        raise BadInputError(f"no name for a tuning file beside {output}", "name one with  --tuning FILE")
    return output.with_name(f"{stem}.tuning.json")
