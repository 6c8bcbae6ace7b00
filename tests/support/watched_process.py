"""A child process whose JSON lines a test waits for, and which it may kill at a known point."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any


class WatchedProcess:
    """`python *arguments`; stderr goes to `log`."""

    def __init__(self, *arguments: object, log: Path) -> None:
        self.seen: list[dict[str, Any]] = []
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, *map(str, arguments)], stdout=subprocess.PIPE, stderr=errors, text=True
            )
        self._lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)

    def wait_for(self, event: str, timeout_s: float = 15.0) -> dict[str, Any]:
        """The next line whose "event" is `event`."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError(
                    f"no {event!r} within {timeout_s} s; last {self.seen[-3:]}; log: "
                    + self._log.read_text(errors="replace")[-2000:]
                )
            self.seen.append(line)
            if line["event"] == event:
                return line

    def kill(self) -> None:
        """SIGKILL; what it printed before stays readable."""
        self._process.kill()
        self._process.wait()

    def wait(self, timeout_s: float = 15.0) -> int:
        """The exit status."""
        return self._process.wait(timeout_s)
