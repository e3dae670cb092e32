"""The durable buffer between receipt and backend. `format` describes the file and its invariants.

Every method may be called from any thread, except that only one thread plans, loads and settles plans.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from collector.journal import dead_letters, records
from collector.journal import format as file_format
from collector.journal.codec import encode
from collector.journal.database import Database
from collector.journal.errors import JournalFailed, JournalFull, disk_full
from collector.journal.lock import WriterLock
from collector.journal.plans import Entry, Gathering, Group, Plan
from collector.journal.recovery import recover
from collector.journal.statements import (
    add_batches,
    add_plan,
    add_series,
    delete_batches,
    delete_plans,
    set_acknowledged,
    set_meta,
    set_states,
)
from storage_backends.interface import Market

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from collector.clock import Clock
    from collector.core.batch import Batch

DEFAULT_MAX_BYTES = 6 << 30
"""50 markets leave about 250 kB a second: six hours and some room."""

SMALL_TABLES = frozenset({"gaps", "events", "clock"})
"""Tables that say what is missing; they may use the reserve beyond the bound."""

_PIECE = 4096  # batches deleted in one go


class Journal:
    """Committed batches on their way to a backend, and the states that markets need after a restart.

    Attributes:
        collector_id: eight hex digits, made with the file; the writer's name in every plan.
        set_aside: (new path, what was wrong) when an unusable file was found at the start, else None.
        max_bytes, reserve_bytes: bound on the bodies held, and what `SMALL_TABLES` may use beyond it.
    """

    def __init__(self, path: Path, clock: Clock, max_bytes: int, lock: WriterLock) -> None:
        """Use `open`."""
        self.path = path
        self.max_bytes = max_bytes
        self.reserve_bytes = min(16 << 20, max_bytes // 8)
        self._clock = clock
        self._lock = lock
        self.set_aside = file_format.ensure(path, clock.now_ns())
        self._db = Database(path, self.reserve_bytes)
        try:
            self.collector_id = records.collector_id(self._db)
            found = recover(self._db, clock.now_ns(), max_bytes)
        except BaseException:
            self._db.close()
            raise
        self._bytes = found.bytes
        self._next_id, self._next_plan_id = found.last_id + 1, found.last_plan_id + 1
        self._series = found.series
        self._planned = found.planned
        self._groups = {(group.table, group.market): group for group in found.groups}

    @classmethod
    def open(cls, path: Path, *, max_bytes: int = DEFAULT_MAX_BYTES, clock: Clock) -> Journal:
        """Opens the journal for writing and makes it if there is none.

        A damaged or foreign file is renamed, never deleted; see `set_aside`.

        Raises:
            JournalLocked: another process writes to it.
            JournalTooNew: a newer version wrote it.
            JournalFailed: the disk failed, or the folder cannot be written to.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JournalFailed(f"cannot make {path.parent}: {error}; choose another --data-dir") from error
        lock = WriterLock(path.with_suffix(".lock"))
        try:
            return cls(path, clock, max_bytes, lock)
        except BaseException:
            lock.release()
            raise

    def close(self) -> None:
        """Gives the file back; everything committed stays. Safe to call twice."""
        self._db.close()
        self._lock.release()

    def commit(self, batches: Sequence[tuple[Market, Batch]], states: Mapping[Market, bytes]) -> list[Entry]:
        """Adds `batches` and replaces `states` (those of other markets stay) in one transaction; durable on return.

        Returns what it has now of each batch with rows, in their order.

        A commit of nothing but `SMALL_TABLES` may use the reserves, beyond the bound and on a full disk. Batches
        without rows are skipped.

        Raises:
            JournalFull: it would hold more than `max_bytes` of bodies, dead letters included.
            DiskFull: no room on the disk.
            JournalFailed: the disk or the file failed.
            ValueError, TypeError: a batch that cannot be encoded.
            Nothing of the commit is there then; only after JournalFailed it may be there, as a whole, which the next
            start finds.
        """
        entries = _entries(batches)
        keys = [(entry.table, entry.market) for entry in entries]
        digests = [hashlib.sha256(entry.body).digest() for entry in entries]
        added = sum(len(entry.body) for entry in entries)
        now_ns = self._clock.now_ns()
        self._check_disk(entries)
        with self._db.transaction("storing new rows", added) as db:
            self._check_bound(entries)
            new_series = add_series(db, {key for key in keys if key not in self._series})
            series = self._series | new_series if new_series else self._series
            ids = range(self._next_id, self._next_id + len(entries))
            add_batches(
                db,
                [
                    (id_, series[key], entry.rows, len(entry.body), now_ns, digest)
                    for id_, key, entry, digest in zip(ids, keys, entries, digests, strict=True)
                ],
                [entry.body for entry in entries],
            )
            set_states(db, states)
            db.execute("COMMIT")
            self._series = series
            self._next_id = ids.stop
            self._bytes += added
            for id_, entry in zip(ids, entries, strict=True):
                self._count(Group(entry.table, entry.market, entry.rows, len(entry.body), now_ns, id_, id_))
        # The deliverer does this in good time; here it bounds the log when a backend keeps the deliverer waiting.
        self._db.checkpoint(over_bytes=self.reserve_bytes)
        return entries

    def check_room(self, batches: Sequence[tuple[Market, Batch]]) -> None:
        """Raises what a commit of `batches` would raise now for lack of room, as far as can be told without writing.

        Raises:
            JournalFull, DiskFull: as `commit`.
        """
        entries = _entries(batches)
        self._check_disk(entries)
        self._check_bound(entries)

    @property
    def held_bytes(self) -> int:
        """Bytes of the bodies that it holds now, which `max_bytes` bounds. From any thread."""
        return self._bytes

    def states(self) -> dict[Market, bytes]:
        """The last committed state of each market."""
        return records.states(self._db)

    def groups(self) -> list[Group]:
        """What waits and is in no plan, oldest first."""
        return sorted(self._groups.copy().values(), key=lambda group: group.first_id)

    def plan(self, groups: Sequence[Group], *, before_ns: int, max_rows: int, max_bytes: int) -> list[Plan]:
        """Decides on one write for each of `groups` and records them; durable on return.

        A plan takes a group's oldest batches that were committed before `before_ns`, up to `max_rows` and `max_bytes`
        but at least one. A group that has nothing before `before_ns` gets no plan. One plan a group: while it is open,
        the group's later rows wait behind it.

        Raises:
            ValueError: a group has an open plan.
            DiskFull: nothing was planned.
            JournalFailed: the disk or the file failed.
        """
        gatherings = {
            self._series[group.table, group.market]: Gathering(group, max_rows=max_rows, max_bytes=max_bytes)
            for group in groups
        }
        if not gatherings:
            return []
        twice = [group for group in groups if (group.table, group.market) in self._planned]
        if twice:
            raise ValueError(f"has an open plan already: {twice[0]}")
        first_id = min(group.first_id for group in groups)
        for series, id_, rows, size, created_ns, digest in records.headers(self._db, first_id, before_ns):
            if series in gatherings:
                gatherings[series].offer(id_, rows, size, created_ns, digest)
        now_ns = self._clock.now_ns()
        with self._db.transaction("planning writes") as db:
            plans: list[Plan] = []
            for series, gathering in gatherings.items():
                if not gathering.ids:
                    continue
                plan = gathering.plan(self._next_plan_id + len(plans), self.collector_id)
                plans.append(plan)
                add_plan(db, plan, series, now_ns)
            db.execute("COMMIT")
            self._next_plan_id += len(plans)
            self._planned |= {(plan.table, plan.market) for plan in plans}
            for gathering in gatherings.values():
                key = gathering.group.table, gathering.group.market
                rest = gathering.rest(self._groups.pop(key), before_ns)
                if rest is not None:
                    self._groups[key] = rest
        return plans

    def open_plans(self) -> list[Plan]:
        """Plans whose write was not acknowledged, oldest first."""
        return records.open_plans(self._db)

    def load(self, plan: Plan) -> Iterator[Batch]:
        """Gives the batches of `plan` in the order of their commits, each when it is asked for.

        Raises:
            DamagedBatchError: after the last, if some do not hold what was committed.
            JournalFailed: the disk or the file failed.
        """
        return records.load(self._db, plan)

    def committed_ns(self, plan: Plan) -> list[int]:
        """When each batch of `plan` was committed, in the order of `plan.ids`.

        Raises:
            JournalFailed: the disk or the file failed.
        """
        return records.committed_ns(self._db, plan)

    def acknowledge(self, plans: Sequence[Plan]) -> None:
        """The writes of `plans` are durable in the backend: forgets their batches. Its first transaction decides.

        Deletes over all plans together, in the order of ids: batches of many markets share pages, and so a page is
        written once or twice, not once for each market. In pieces, so that no commit waits for all of it. Safe to
        repeat.

        Raises:
            DiskFull: some of it is left to do.
            JournalFailed: the disk or the file failed.
        """
        ids = sorted(id_ for plan in plans for id_ in plan.ids)
        for start in range(0, len(ids), _PIECE):
            with self._db.transaction("forgetting delivered rows", sum(plan.bytes for plan in plans) // 8) as db:
                freed = 0
                if start == 0:
                    freed = sum(plan.bytes for plan in plans if set_acknowledged(db, plan))
                delete_batches(db, ids[start : start + _PIECE])
                if start + _PIECE >= len(ids):
                    delete_plans(db, plans)
                db.execute("COMMIT")
                self._bytes -= freed
        self._planned -= {(plan.table, plan.market) for plan in plans}

    def refuse(self, plan: Plan, reason: str, *, ids: Collection[int] | None = None) -> int:
        """Moves the batches of `plan`, or those of `ids`, to the dead letters, where they stay until a person decides.

        Returns how many rows that was. The plan is gone; what it had beside `ids` waits again.

        Raises:
            DiskFull: nothing was changed.
            JournalFailed: the disk or the file failed.
        """
        refused = [id_ for id_ in plan.ids if ids is None or id_ in ids]
        now_ns = self._clock.now_ns()
        with self._db.transaction("keeping refused rows", plan.bytes) as db:
            dead_letters.bury(db, refused, now_ns, reason)
            delete_batches(db, refused)
            delete_plans(db, [plan])
            kept: list[tuple[int, int, int, int, int]] = [
                db.execute("SELECT rows, bytes, created_ns, id, id FROM batch WHERE id = ?", (id_,)).fetchone()
                for id_ in sorted(set(plan.ids).difference(refused))
            ]
            db.execute("COMMIT")
            self._planned.discard((plan.table, plan.market))
            later = self._groups.pop((plan.table, plan.market), None)
            for header in kept:
                self._count(Group(plan.table, plan.market, *header))
            if later is not None:
                self._count(later)
        return plan.rows - sum(rows for rows, *_ in kept)

    def refused_ns(self) -> dict[int, tuple[Market, int]]:
        """Market and time of refusal of each dead letter, by its id.

        Raises:
            JournalFailed: the disk or the file failed.
        """
        return dead_letters.refused_ns(self._db)

    def dead_letters(self, ids: Collection[int] | None = None) -> Iterator[tuple[int, str, Market, int, Batch | None]]:
        """(id, table, market, created_ns, rows) of each, or of `ids`; None for rows that are damaged.

        Raises:
            JournalFailed: the disk or the file failed.
        """
        yield from dead_letters.letters(self._db, ids)

    def requeue(self) -> int:
        """Lets the dead letters wait for the backend again, behind all else; returns how many rows.

        What is damaged stays.

        Raises:
            DiskFull: some of it is left to do.
            JournalFailed: the disk or the file failed.
        """
        requeued = 0
        for id_, table, market, _, batch in self.dead_letters():
            if batch is None:
                continue
            body = dead_letters.body_of(self._db, id_)
            now_ns = self._clock.now_ns()
            with self._db.transaction("requeueing dead letters", len(body)) as db:
                key, new_id = (table, market), self._next_id
                series = self._series | add_series(db, {key} - self._series.keys())
                header = (new_id, series[key], batch.rows, len(body), now_ns, hashlib.sha256(body).digest())
                add_batches(db, [header], [body])
                dead_letters.take_out(db, id_)
                db.execute("COMMIT")
                self._series, self._next_id = series, new_id + 1
                self._count(Group(*key, batch.rows, len(body), now_ns, new_id, new_id))
            requeued += batch.rows
        return requeued

    def drop_dead_letters(self, ids: Sequence[int]) -> None:
        """Forgets dead letters for good. What they held is to be stated as gaps before.

        Raises:
            DiskFull: nothing was changed.
            JournalFailed: the disk or the file failed.
        """
        with self._db.transaction("dropping dead letters") as db:
            freed = dead_letters.forget(db, ids)
            db.execute("COMMIT")
            self._bytes -= freed

    def record_error(self, text: str) -> None:
        """Keeps `text` as the last error, for other processes to show.

        Raises:
            DiskFull: not kept.
            JournalFailed: the disk or the file failed.
        """
        with self._db.transaction("noting an error") as db:
            set_meta(db, last_error=text, last_error_ns=self._clock.now_ns())
            db.execute("COMMIT")

    def maintain(self) -> None:
        """Copies the log into the file when due, and gives free pages back to the disk; cheap when there is nothing.

        Raises:
            JournalFailed: the disk or the file failed.
        """
        self._db.checkpoint()
        self._db.shrink()

    def _check_disk(self, entries: Sequence[Entry]) -> None:
        if not _are_small(entries) and not self._db.has_room():
            raise disk_full("storing new rows")

    def _check_bound(self, entries: Sequence[Entry]) -> None:
        added = sum(len(entry.body) for entry in entries)
        bound = self.max_bytes + (self.reserve_bytes if _are_small(entries) else 0)
        if added and self._bytes + added > bound:
            raise JournalFull(
                f"the journal holds {self._bytes:,} of {self.max_bytes:,} bytes and has no room for {added:,} more"
            )

    def _count(self, new: Group) -> None:
        """Adds batches that came after what the group has."""
        old = self._groups.get((new.table, new.market), new)
        if old is not new:
            new = old._replace(rows=old.rows + new.rows, bytes=old.bytes + new.bytes, last_id=new.last_id)
        self._groups[new.table, new.market] = new


def _entries(batches: Iterable[tuple[Market, Batch]]) -> list[Entry]:
    return [Entry(batch.table, market, batch.rows, encode(batch)) for market, batch in batches if batch.rows]


def _are_small(entries: Iterable[Entry]) -> bool:
    return all(entry.table in SMALL_TABLES for entry in entries)
