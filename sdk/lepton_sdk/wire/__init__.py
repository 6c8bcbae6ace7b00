"""What devices and servers say to each other, and how it travels; the protocol's story in file order.

    codec.py      a message is a frozen dataclass; deterministic CBOR; malformed input is a MessageError
    cbor_form.py  refuses, before decoding, what could grow beyond its own bytes
    topics.py     who writes where
    identity.py   Ed25519 keys; a device's name is the hash of its key; signatures over the CBOR
    round.py      round announced, device eligible, task given      update.py   offer, chunk, need, receipt
    blocks.py     blocks of an artifact wanted and given            status.py   a device is here
    presence.py   tells that status, also when the device vanishes
    transport.py  what carries topics: the Protocol; mqtt.py over a broker, loopback.py inside one process,
                  dispatch.py who gets what and when all have acknowledged it
    download.py   an artifact fetched by blocks, resumable
    configuration.py   a role's TOML file, its sections checked

QoS 1 is not delivery: every promise is kept by receipts, timers and durable state, so a broker may forget.
"""
