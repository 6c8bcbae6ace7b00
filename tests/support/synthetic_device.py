"""A device as a process, with known training: host port key server_key spool seed n_examples.

Prints one JSON object an event; ends when its update has a receipt.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lepton_sdk.federated.client import FederatedClient
from lepton_sdk.wire.identity import Identity
from lepton_sdk.wire.mqtt import MqttTransport
from support.federation import JOB, TENANT, training


def main() -> None:
    host, port, key, server_key, spool, seed, n_examples = sys.argv[1:]
    identity = Identity.load_or_create(key)
    transport = MqttTransport(host, int(port), identity.device_id, keepalive_s=5)
    client = FederatedClient(
        transport, identity, train=training(int(seed), int(n_examples)), spool=spool,
        server_key=server_key, tenant=TENANT, job=JOB, retry_s=0.2,
        on_event=lambda name, fields: print(json.dumps({"event": name, **fields}), flush=True),
    )  # fmt: skip
    counts = client.run(rounds=1)
    print(json.dumps({"event": "finished", **counts}), flush=True)
    transport.close()


if __name__ == "__main__":
    main()
