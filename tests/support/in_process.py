"""Run `lepton` inside the test's own process: quick, and its parts can be replaced."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from lepton_sdk.cli.main import main


class Result:
    """What a command printed and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err
        assert "Traceback" not in err

    @property
    def json(self) -> dict[str, Any]:
        (line,) = self.out.strip().splitlines()
        value: dict[str, Any] = json.loads(line)
        return value


Lepton = Callable[..., Result]


def run_here(capfd: pytest.CaptureFixture[str], *words: object) -> Result:
    """Run the command with these words."""
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    out, err = capfd.readouterr()
    return Result(stopped.value.code or 0, out, err)  # type: ignore[arg-type]
