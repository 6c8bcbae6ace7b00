"""A device that trains on its own data and takes part in federated rounds; data never leaves it.

python examples/federated_device.py BROKER:PORT trainable.lep examples.npz server.pub.pem
"""

import sys

from lepton_sdk import FederatedClient, MqttTransport
from lepton_sdk.federated.local import local_training
from lepton_sdk.wire.identity import Identity

address, bundle, examples, server_key = sys.argv[1:]
host, port = address.split(":")
client = FederatedClient(
    MqttTransport(host, int(port)),
    Identity.load_or_create("device.pem"),  # enrol its public half, device.pub.pem, with the aggregator
    train=local_training(bundle, examples),
    spool="spool",  # updates wait here until the server's signed receipt
    server_key=server_key,
    on_event=lambda name, fields: print(name, dict(fields)),
)
client.run(rounds=1)
