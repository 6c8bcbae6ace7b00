"""Bytes in flight, bounded: a device sends only what it was granted, so a slow disc bounds the broker too.

Grants are a plan in memory; what is missing is computed from the store each time (a lost grant costs only
a wait).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class _Grant:
    expires_at: float
    outstanding: dict[int, int] = field(default_factory=dict)


class Grants:
    """limit_bytes: in flight over all updates. each_bytes: for one update at a time. lifetime_s: how long a
    grant holds its bytes while nothing of it arrives. Time comes in as seconds of any steady clock."""

    def __init__(self, limit_bytes: int, each_bytes: int, lifetime_s: float = 10.0) -> None:
        self._limit, self._each, self._lifetime_s = limit_bytes, each_bytes, lifetime_s
        self._grants: dict[bytes, _Grant] = {}
        self._waiting: OrderedDict[bytes, None] = OrderedDict()

    @property
    def in_flight_bytes(self) -> int:
        """What devices may be sending now."""
        return sum(sum(grant.outstanding.values()) for grant in self._grants.values())

    def outstanding(self, update_id: bytes) -> int:
        """Chunks of this update that are granted and have not arrived."""
        grant = self._grants.get(update_id)
        return len(grant.outstanding) if grant else 0

    def ask(self, update_id: bytes, missing: Iterable[tuple[int, int]], now: float) -> tuple[int, ...]:
        """Grant as many of the `missing` (index, bytes) as there is room for, in order; () where there is
        none: the update then waits its turn (`next_waiting`). An older grant of it is replaced."""
        self.release(update_id)
        room = min(self._each, self._limit - self.in_flight_bytes)
        grant = _Grant(now + self._lifetime_s)
        for index, size in missing:
            # One chunk must always fit, or a limit below a chunk's size would stop everything.
            if size > room and (grant.outstanding or self._grants):
                break
            grant.outstanding[index] = size
            room -= size
        if grant.outstanding:
            self._grants[update_id] = grant
        else:
            self._waiting[update_id] = None
        return tuple(grant.outstanding)

    def arrived(self, update_id: bytes, index: int, now: float) -> None:
        """A granted chunk is durable (or was bad): its bytes are free again."""
        grant = self._grants.get(update_id)
        if grant is None:
            return
        grant.outstanding.pop(index, None)
        grant.expires_at = now + self._lifetime_s
        if not grant.outstanding:
            del self._grants[update_id]

    def release(self, update_id: bytes) -> None:
        """The update needs nothing more."""
        self._grants.pop(update_id, None)
        self._waiting.pop(update_id, None)

    def next_waiting(self, now: float) -> bytes | None:
        """Expire old grants; then the update that has waited longest, if there is room for anything."""
        for update_id in [key for key, grant in self._grants.items() if grant.expires_at <= now]:
            del self._grants[update_id]
        if self._waiting and self.in_flight_bytes < self._limit:
            return self._waiting.popitem(last=False)[0]
        return None
