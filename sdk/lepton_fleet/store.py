"""What the aggregator knows for certain: rounds, offers, chunks, counted updates, receipts, in SQLite.

`UNIQUE(job, round, device)` is what makes an update count once. Each transaction checks the fencing token,
so of two aggregators on one store only the later one can write.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from lepton_fleet.round import Phase, Policy, Round
from lepton_sdk.durable import make_folder
from lepton_sdk.wire.codec import decode, encode
from lepton_sdk.wire.update import Offer, Receipt
from lepton_targets.errors import CheckFailedError, UnavailableError

_SCHEMA = """
create table if not exists fence(token integer not null);
insert into fence select 0 where not exists (select 1 from fence);
create table if not exists rounds(
    job text, number integer, phase text, base blob, policy text, selected text, refused text,
    model blob, metrics text, reason text, primary key (job, number));
create table if not exists offers(
    update_id blob primary key, job text, round integer, device text, message blob);
create index if not exists offers_of_device on offers(job, round, device);
create table if not exists chunks(
    update_id blob, position integer, content blob, primary key (update_id, position)) without rowid;
create table if not exists counted(
    job text, round integer, device text, update_id blob, n_examples integer, unique (job, round, device));
create index if not exists counted_by_update on counted(update_id);
create table if not exists receipts(
    update_id blob, device text, job text, round integer, status text, reason text,
    primary key (device, update_id));
create table if not exists time_left(job text, round integer, seconds real, primary key (job, round));
create table if not exists announced(job text primary key, sequence integer not null);
create table if not exists offences(device text primary key, n integer not null);
create table if not exists dropped(reason text primary key, n integer not null);
"""


class Fenced(CheckFailedError):
    """Another aggregator has taken over this store."""


class Store:
    """One aggregator's store. All calls come from one thread; writing ones inside `transaction`."""

    def __init__(self, path: Path) -> None:
        """Open or create, and take over: any aggregator that had it open is fenced from now on."""
        self._path = path
        make_folder(path.parent)
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("pragma journal_mode=wal")
            self._db.execute("pragma synchronous=full")
            self._db.execute("pragma busy_timeout=5000")
            self._db.executescript(_SCHEMA)
            self._token = self._db.execute("update fence set token = token + 1 returning token").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise UnavailableError(f"cannot use the store {path}: {error}") from error

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, durable at the end.

        Raises Fenced (a later aggregator owns the store) or UnavailableError (disc full, file damaged).
        """
        try:
            self._db.execute("begin immediate")
            token = self._db.execute("select token from fence").fetchone()[0]
            if token != self._token:
                raise Fenced("another aggregator has taken over", "this one must end: it owns no round")
            yield
            self._db.execute("commit")
        except BaseException as error:
            if self._db.in_transaction:
                self._db.execute("rollback")
            if isinstance(error, sqlite3.Error):
                raise UnavailableError(
                    f"the store {self._path} failed: {error}",
                    "nothing of this was acknowledged: mend the disc and start the same command again",
                ) from error
            raise

    # ---- rounds

    def save_round(self, state: Round) -> None:
        """Write all of a round but its counted updates, which `count` writes."""
        self._db.execute(
            "insert or replace into rounds values (?,?,?,?,?,?,?,?,?,?)",
            (
                state.job,
                state.number,
                state.phase.value,
                state.base_model_sha256,
                json.dumps(asdict(state.policy)),
                json.dumps(state.selected),
                json.dumps(state.refused),
                state.model_sha256,
                json.dumps(dict(state.metrics)),
                state.reason,
            ),
        )

    def rounds(self, job: str) -> list[Round]:
        """All rounds of a job in order, as they were last saved."""
        rows = self._db.execute("select * from rounds where job=? order by number", (job,))
        found = [
            Round(
                job=row[0],
                number=row[1],
                phase=Phase(row[2]),
                base_model_sha256=row[3],
                policy=Policy(**json.loads(row[4])),
                selected=tuple(json.loads(row[5])),
                refused=tuple(json.loads(row[6])),
                model_sha256=row[7],
                metrics=json.loads(row[8]),
                reason=row[9],
            )
            for row in rows
        ]
        return [replace(state, counted=self._counted_ids(state)) for state in found]

    def _counted_ids(self, state: Round) -> dict[str, bytes]:
        rows = self._db.execute(
            "select device, update_id from counted where job=? and round=? order by rowid",
            (state.job, state.number),
        )
        return dict(rows.fetchall())

    def next_sequence(self, job: str, proposed: int) -> int:
        """A number above every earlier one of this job: `proposed`, or more where a clock went backwards."""
        row = self._db.execute(
            "insert into announced values (?,?) on conflict(job) do update "
            "set sequence=max(sequence + 1, excluded.sequence) returning sequence",
            (job, proposed),
        ).fetchone()
        return int(row[0])

    def put_time_left(self, job: str, number: int, seconds: float) -> None:
        """Keep how long a round stays open yet, so that a restart does not give it all its time again."""
        self._db.execute("insert or replace into time_left values (?,?,?)", (job, number, seconds))

    def time_left(self, job: str, number: int) -> float | None:
        """What `put_time_left` kept last, or None."""
        row = self._db.execute(
            "select seconds from time_left where job=? and round=?", (job, number)
        ).fetchone()
        return float(row[0]) if row else None

    # ---- offers and chunks

    def put_offer(self, offer: Offer) -> tuple[bytes, ...]:
        """Keep an offer (without a payload); an earlier unfinished one of its device and round gives way.

        Returns the update_ids that gave way.
        """
        others = self._db.execute(
            "select update_id from offers where job=? and round=? and device=? and update_id<>?",
            (offer.job, offer.round, offer.device, offer.update_id),
        )
        superseded = tuple(update_id for (update_id,) in others)
        for update_id in superseded:
            self.forget(update_id)
        bare = encode(replace(offer, payload=b""))
        row = (offer.update_id, offer.job, offer.round, offer.device, bare)
        self._db.execute("insert or replace into offers values (?,?,?,?,?)", row)
        return superseded

    def owner(self, update_id: bytes) -> str | None:
        """The device whose offered or counted update has this id, or None: who came first has it."""
        for table in ("offers", "counted"):
            row = self._db.execute(f"select device from {table} where update_id=?", (update_id,)).fetchone()
            if row is not None:
                return str(row[0])
        return None

    def offer(self, update_id: bytes) -> Offer | None:
        """The offer of an update that is neither counted nor refused yet."""
        row = self._db.execute("select message from offers where update_id=?", (update_id,)).fetchone()
        return decode(Offer, row[0]) if row else None

    def put_chunk(self, update_id: bytes, position: int, content: bytes) -> bool:
        """Keep a chunk whose hash was checked; False when it was already here."""
        cursor = self._db.execute(
            "insert or ignore into chunks values (?,?,?)", (update_id, position, content)
        )
        return cursor.rowcount == 1

    def missing(self, offer: Offer) -> list[tuple[int, int]]:
        """(index, bytes) of the chunks that are not durable here, in order."""
        rows = self._db.execute("select position from chunks where update_id=?", (offer.update_id,))
        here = {position for (position,) in rows}
        return [(i, offer.chunk_size(i)) for i in range(len(offer.chunk_sha256)) if i not in here]

    def payload(self, update_id: bytes) -> bytes:
        """A complete update's bytes."""
        rows = self._db.execute(
            "select content from chunks where update_id=? order by position", (update_id,)
        )
        return b"".join(content for (content,) in rows)

    def forget(self, update_id: bytes) -> None:
        """Remove an update's offer and chunks."""
        self._db.execute("delete from offers where update_id=?", (update_id,))
        self._db.execute("delete from chunks where update_id=?", (update_id,))

    # ---- fates

    def count(self, offer: Offer) -> bool:
        """Count an update; False when one of its device already counts in its round."""
        row = (offer.job, offer.round, offer.device, offer.update_id, offer.n_examples)
        cursor = self._db.execute("insert or ignore into counted values (?,?,?,?,?)", row)
        self._db.execute("delete from offers where update_id=?", (offer.update_id,))
        return cursor.rowcount == 1

    def counted(self, job: str, number: int) -> list[tuple[str, bytes, int]]:
        """(device, update_id, n_examples) of a round's counted updates, by device id: a fixed order."""
        rows = self._db.execute(
            "select device, update_id, n_examples from counted where job=? and round=? order by device",
            (job, number),
        )
        return rows.fetchall()

    def put_receipt(self, receipt: Receipt, job: str, number: int) -> None:
        """Keep what a device is told, so that a repeated offer gets the same answer."""
        self._db.execute(
            "insert or ignore into receipts values (?,?,?,?,?,?)",
            (receipt.update_id, receipt.device, job, number, receipt.status, receipt.reason),
        )

    def receipt(self, device: str, update_id: bytes) -> tuple[str, str] | None:
        """(status, reason) that the device was told of this update, or None."""
        row: tuple[str, str] | None = self._db.execute(
            "select status, reason from receipts where device=? and update_id=?", (device, update_id)
        ).fetchone()
        return row

    def forget_round(self, job: str, number: int) -> None:
        """Remove the chunks, offers and time of a settled round."""
        for table in ("counted", "offers"):
            self._db.execute(
                f"delete from chunks where update_id in "
                f"(select update_id from {table} where job=? and round=?)",
                (job, number),
            )
        for table in ("offers", "time_left"):
            self._db.execute(f"delete from {table} where job=? and round=?", (job, number))

    # ---- offences and counts

    def add_offence(self, device: str) -> int:
        """One more unusable update of this device; returns how many there are."""
        row = self._db.execute(
            "insert into offences values (?,1) on conflict(device) do update set n=n+1 returning n", (device,)
        ).fetchone()
        return int(row[0])

    def offences(self, device: str) -> int:
        row = self._db.execute("select n from offences where device=?", (device,)).fetchone()
        return int(row[0]) if row else 0

    def add_dropped(self, dropped: Mapping[str, int]) -> None:
        """Add to the counts of messages that were dropped, by reason."""
        for reason, n in dropped.items():
            self._db.execute(
                "insert into dropped values (?,?) on conflict(reason) do update set n=n+excluded.n",
                (reason, n),
            )

    def counts(self, job: str) -> dict[str, int]:
        """Exact figures of a job: updates_offered, _counted, _abandoned (accepted, but their round was given
        up), _duplicate, _stale, _rejected, _unfinished; and dropped_<reason> for messages."""
        statuses = Counter(
            dict(
                self._db.execute(
                    "select status, count(*) from receipts where job=? group by status", (job,)
                ).fetchall()
            )
        )
        accepted = self._db.execute("select count(*) from counted where job=?", (job,)).fetchone()[0]
        abandoned = self._db.execute(
            "select count(*) from counted join rounds on counted.job=rounds.job and round=number "
            "where counted.job=? and phase='abandoned'",
            (job,),
        ).fetchone()[0]
        unfinished = self._db.execute("select count(*) from offers where job=?", (job,)).fetchone()[0]
        dropped = self._db.execute("select reason, n from dropped order by reason").fetchall()
        return {
            "updates_offered": sum(statuses.values()) + unfinished,
            "updates_counted": accepted - abandoned,
            "updates_abandoned": abandoned,
            "updates_duplicate": statuses["duplicate"],
            "updates_stale": statuses["stale"],
            "updates_rejected": statuses["rejected"],
            "updates_unfinished": unfinished,
            **{f"dropped_{reason}": n for reason, n in dropped},
        }
