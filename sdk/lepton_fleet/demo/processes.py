"""Processes of the demo: `lepton` commands that run side by side, watched through the JSON they print."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lepton_targets.errors import CheckFailedError

GRACE_S = 5.0


def lepton_json(*arguments: object, log: Path) -> dict[str, Any]:
    """Run one `lepton … --json` to its end and give its JSON object.

    Raises CheckFailedError with what it printed when it fails.
    """
    process = subprocess.run(_command(*arguments, "--json"), capture_output=True, text=True, check=False)
    log.write_text(process.stderr)
    if process.returncode != 0:
        raise CheckFailedError(
            f"lepton {arguments[0]} ended with exit code {process.returncode}",
            *process.stderr.strip().splitlines()[-8:],
        )
    result: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return result


class Service:
    """A `lepton` command that runs until it is stopped and prints one JSON object a line."""

    def __init__(self, name: str, *arguments: object, log: Path) -> None:
        self.name = name
        self._log = log
        self._errors = log.open("w")
        self._process = subprocess.Popen(
            _command(*arguments), stdout=subprocess.PIPE, stderr=self._errors, text=True, bufsize=1
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True, name=f"{name}-output").start()

    def events(self, timeout_s: float) -> Iterator[dict[str, Any]]:
        """Events as they come, until the process ends.

        Raises CheckFailedError after `timeout_s` seconds in all, or when the process ends with an error.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(deadline - time.monotonic(), 0.0))
            except queue.Empty:
                raise CheckFailedError(
                    f"{self.name} did not finish within {timeout_s:.0f} s", *self.last_words()
                ) from None
            if line is None:
                code = self._process.wait()
                if code != 0:
                    raise CheckFailedError(f"{self.name} ended with exit code {code}", *self.last_words())
                return
            with contextlib.suppress(json.JSONDecodeError):
                event = json.loads(line)
                if isinstance(event, dict):
                    yield event

    def last_words(self) -> list[str]:
        """The last lines of its log."""
        self._errors.flush()
        return self._log.read_text().strip().splitlines()[-8:]

    def stop(self) -> None:
        """Ask it to end, and make it end when it does not within GRACE_S seconds."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._errors.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)


def _command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "lepton_sdk.cli.main", *map(str, arguments)]
