"""An MQTT broker of one's own for demos, tests and single machines: mosquitto where installed, else amqtt.

Runs as a child process on a free port of the loopback interface, in a temporary folder. Nothing relies on
what it keeps, so it may be killed at any time (`kill`, `restart`).
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

from lepton_sdk.wire.topics import Topics
from lepton_targets.errors import MissingExtraError, UnavailableError

# Reasons: autosave_on_changes costs fifty times the throughput and still loses messages; the default queue
# limit drops silently; a packet above the limit would be sent again and again.
_MOSQUITTO = """\
listener {port} {host}
allow_anonymous true
persistence true
persistence_location {folder}/
autosave_interval 30
max_inflight_messages 64
max_queued_messages 0
max_packet_size 2200000
set_tcp_nodelay true
sys_interval 0
log_type error
log_type warning
"""

_AMQTT = """\
import asyncio, logging
from amqtt.broker import Broker
logging.basicConfig(level=logging.ERROR)
config = {{
    "listeners": {{"default": {{"type": "tcp", "bind": "{host}:{port}", "max_connections": 1000}}}},
    "plugins": {{"amqtt.plugins.authentication.AnonymousAuthPlugin": {{"allow_anonymous": True}}}},
}}
async def main():
    broker = Broker(config)
    await broker.start()
    await asyncio.Event().wait()
asyncio.run(main())
"""

_EXTRA_PATHS = "/usr/sbin:/usr/local/sbin"


class EmbeddedBroker:
    """`with EmbeddedBroker() as broker: … broker.host, broker.port, broker.kind ("mosquitto" or "amqtt")`."""

    def __init__(self, kind: str | None = None, start_timeout_s: float = 10.0) -> None:
        """kind: "mosquitto" or "amqtt"; None takes the first that is installed.

        Raises MissingExtraError where neither is.
        """
        self.kind = kind or ("mosquitto" if _mosquitto() else "amqtt")
        self.host = "127.0.0.1"
        self.port = 0
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="lepton-broker-"))

    def __enter__(self) -> EmbeddedBroker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start on a free port (the same one again after `kill`). Raises UnavailableError if it won't."""
        self.port = self.port or _free_port(self.host)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log, cwd=self._folder)
        deadline = time.monotonic() + self._start_timeout_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with socket.socket() as probe:
                probe.settimeout(0.2)
                if probe.connect_ex((self.host, self.port)) == 0:
                    return
            time.sleep(0.02)
        self.kill()
        said = (self._folder / "log").read_text(errors="replace").strip().splitlines()[-5:]
        raise UnavailableError(f"the embedded broker ({self.kind}) did not start", *said)

    def kill(self) -> None:
        """End it at once (SIGKILL), as a power loss would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kill it and start it again on the same port."""
        self.kill()
        self.start()

    def _command(self) -> list[str]:
        values = {"host": self.host, "port": self.port, "folder": self._folder}
        if self.kind == "mosquitto":
            found = _mosquitto()
            if found is None:
                raise UnavailableError("mosquitto is not installed", "install it, or take kind='amqtt'")
            configuration = self._folder / "mosquitto.conf"
            configuration.write_text(_MOSQUITTO.format(**values))
            # Started by root, mosquitto would change to a user that can't write into this folder.
            with configuration.open("a") as file:
                file.write(f"user {_user()}\n")
            return [found, "-c", str(configuration)]
        _need_amqtt()
        script = self._folder / "broker.py"
        script.write_text(_AMQTT.format(**values))
        return [sys.executable, str(script)]


def access_rules(tenant: str) -> str:
    """A mosquitto ACL file that lets each device, whose user name is its id, use only its own topics.

    The user `server` may use all of the tenant's.
    """
    dev = Topics(tenant).status("+").replace("+", "%u").rsplit("/", 1)[0]
    rows = (
        "user server",
        f"topic readwrite fl/v1/{tenant}/#",
        "",
        f"pattern write {dev}/status",
        f"pattern write {dev}/up/+",
        f"pattern write {dev}/reported",
        f"pattern read {dev}/down/+",
        f"pattern read {dev}/desired",
        f"pattern read fl/v1/{tenant}/round/+",
    )
    return "\n".join(rows) + "\n"


def _mosquitto() -> str | None:
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=_EXTRA_PATHS)


def _need_amqtt() -> None:
    from importlib.util import find_spec

    if find_spec("amqtt") is None:
        raise MissingExtraError("an embedded broker without mosquitto", "fleet", "amqtt")


def _user() -> str:
    import getpass

    return getpass.getuser()


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
