"""Installs new models on the device: two slots, a proof before the switch, a way back after it.

release.py    what the publisher signs: a bundle's digest, its counter, a file for each target
shadow.py     the device's shadow on the wire: `desired` from the server, `reported` from the device
record.py     what the device remembers across power failures, as one small JSON file
machine.py    the update as a pure state machine: event in, new record and actions out
slots.py      two folders, the link to the active one, the anti-rollback counter
checks.py     the proofs: signature, hashes, target, golden vectors
probation.py  is the new model well? a verdict from time, inferences and probes
agent.py      the short driver that joins them to a transport
"""
