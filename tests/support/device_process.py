"""A device as a process of its own: `python device_process.py FOLDER PORT ENGINE BAD_NAME`.

FOLDER holds device.pem, server.pub.pem and publisher.pub.pem; slots are made in it. A model named BAD_NAME is
found unwell by the probe. Prints one JSON line for each phase.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lepton_sdk.agent.agent import DeviceAgent
from lepton_sdk.session import Session
from lepton_sdk.wire.identity import Identity
from lepton_sdk.wire.mqtt import MqttTransport


def main(folder: Path, port: int, engine: str, bad_name: str) -> None:
    def well(session: Session) -> bool:
        return session.bundle is not None and session.bundle.manifest.name != bad_name

    agent = DeviceAgent(
        MqttTransport("127.0.0.1", port),
        Identity.load_or_create(folder / "device.pem"),
        folder / "slots",
        server_key=folder / "server.pub.pem",
        trust=[folder / "publisher.pub.pem"],
        tenant="plant",
        engine=engine,
        probe=well,
        check_interval_s=0.1,
        on_event=lambda name, fields: print(json.dumps({"event": name, **fields}), flush=True),
    )
    agent.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
