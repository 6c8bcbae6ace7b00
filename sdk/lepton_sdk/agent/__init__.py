"""Installs new models on the device: two slots, a proof before the switch, a way back after it.

shadow.py     signed messages: the publisher's release, the server's `desired`, the device's `reported`
record.py     what the device remembers across power failures, as one small JSON file
machine.py    the update as a pure state machine: event in, new record and actions out
slots.py      two folders, the link to the active one, the anti-rollback counter
checks.py     the proofs: signature, hashes, target, golden vectors
download.py   fetches the bundle meanwhile, on a thread of its own
probation.py  is the new model well? a verdict from time, inferences and probes; vigil.py watches for it
agent.py      the short driver that joins them to a transport
"""
