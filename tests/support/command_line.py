"""Run `lepton` as a user does: a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Result:
    """Exit code and what was printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The JSON object on the last line."""
        return json.loads(self.out.splitlines()[-1])


def lepton(*arguments: object, cwd: Path | None = None, check: bool = True) -> Result:
    """Run the command; AssertionError with its output when `check` and it failed."""
    program = Path(sys.executable).parent / "lepton"
    process = subprocess.run(
        [str(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
        timeout=300,
    )
    result = Result(process.returncode, process.stdout, process.stderr)
    assert not check or result.code == 0, f"exit {result.code}\n{result.err}\n{result.out}"
    return result
