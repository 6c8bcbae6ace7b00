"""Is this CBOR of the few forms that messages take? Looked at before any of it is built.

Tags are refused here, for a decoder gives them meaning: shared values and string references let a hundred
bytes stand for gigabytes, and numbers of any length cost the square of it. Whoever can reach a topic can send
these, since a signature can be checked only after decoding.
"""

from __future__ import annotations

MAX_DEPTH = 8


def require_plain(content: bytes) -> None:
    """Raises ValueError unless `content` is one item (RFC 8949 §3) without tags or indefinite lengths, at
    most MAX_DEPTH deep, whose announced lengths fit into its bytes. Takes time linear in the bytes."""
    position, end = 0, len(content)
    awaited = [1]
    while awaited:
        if awaited[-1] == 0:
            awaited.pop()
            continue
        awaited[-1] -= 1
        if position >= end:
            raise ValueError(f"it ends after {end} bytes, in the middle of an item")
        major, low = content[position] >> 5, content[position] & 31
        position += 1
        argument = low
        if low >= 28:
            raise ValueError(f"an indefinite length or a reserved form at byte {position - 1}")
        if low >= 24:
            size = 1 << (low - 24)
            argument = int.from_bytes(content[position : position + size], "big")
            position += size
        if major == 6:
            raise ValueError(f"tag {argument} at byte {position - 1}; messages have no tags")
        if major in (2, 3):
            position += argument
        elif major in (4, 5):
            items = argument * (major - 3)
            if items > end - position:
                raise ValueError(f"{items} items announced, {max(end - position, 0)} bytes are left for them")
            if len(awaited) > MAX_DEPTH:
                raise ValueError(f"more than {MAX_DEPTH} levels")
            awaited.append(items)
    if position != end:
        raise ValueError(f"{end} bytes found, the item takes {position}")
