"""A device's part in federated rounds: train on local data, send only what changed, keep it until it counts.

machine.py      IDLE → ELIGIBLE → FETCH → VERIFY → TRAIN → SPOOL → UPLOAD → AWAIT_RECEIPT → IDLE, pure
client.py       the driver around it: transport, clock, spool; silence.py notices that nobody answers
update.py       the float32 difference from the base model, packed and checked
spool.py        updates on disc until a receipt names them
local.py        the local part: a trainable bundle and this device's own examples
"""
