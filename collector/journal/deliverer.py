"""Takes what waits in the journal to the backend: decides, writes, repeats, acknowledges.

Nothing is forgotten before the backend has said yes, and a write that a crash cut off is repeated exactly as planned.
What fails for the moment is tried again with growing, random pauses, each plan by itself, and all of them together when
nothing succeeds. What the backend refuses for good goes to the journal's dead letters, so that the rest goes on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collector.core.batch import taken
from collector.journal.damage import damages_in
from collector.journal.errors import DiskFull
from collector.journal.journal import DamagedBatchError
from collector.journal.limits import FULL_JITTER, DeliveryLimits
from collector.journal.pace import DeliveryCounts, Pace, no_event
from collector.journal.plans import Damage
from storage_backends.errors import (
    PartialWriteError,
    PermanentBackendError,
    StorageFailed,
    untraced,
)
from storage_backends.interface import Write

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa
    import tenacity

    from collector.clock import Clock
    from collector.core.batch import Batch
    from collector.journal.journal import Journal
    from collector.journal.plans import Plan
    from storage_backends.interface import Backend, Market


_ACKNOWLEDGE_AFTER_S = 5.0
_BYTES_AT_ONCE = 4 << 20


@dataclass(slots=True)
class _Attempt:
    plan: Plan
    failures: int = 0
    due_ns: int = 0
    alone: bool = False
    """Something that nobody foresaw came of a write of several; which of them it was shows when each goes by itself."""
    written: bool = False
    """The backend has it, and the journal has not taken note yet."""


def _no_gap(market: Market, batches: list[Batch]) -> None:
    """Nobody asked."""


def _no_damage(market: Market, damage: Damage) -> None:
    """Nobody asked."""


class Deliverer:
    """One for each journal; `step`, `run` and `drain` are called by one thread at a time.

    `on_event(now_ns, market, kind, detail)` is called on that thread: `backend_away` and `backend_back` (market None),
    and `dead_letter`. `on_refused(market, batches)` gets the rows that went there, as far as they can be read, and
    `on_damaged(market, damage)` what is known of the others.
    """

    def __init__(
        self,
        journal: Journal,
        backend: Backend,
        *,
        clock: Clock,
        limits: DeliveryLimits | None = None,
        on_event: Callable[[int, Market | None, str, str], None] = no_event,
        on_refused: Callable[[Market, list[Batch]], None] = _no_gap,
        on_damaged: Callable[[Market, Damage], None] = _no_damage,
        wait: Callable[[tenacity.RetryCallState], float] = FULL_JITTER,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Takes up the open plans of an earlier run; they are written first."""
        self._journal = journal
        self._backend = backend
        self._clock = clock
        self._limits = limits or DeliveryLimits()
        self._on_event = on_event
        self._on_refused = on_refused
        self._on_damaged = on_damaged
        self._sleep = sleep
        self._attempts = {plan.id: _Attempt(plan) for plan in journal.open_plans()}
        self._pace = Pace(journal, clock, wait, on_event)

    @property
    def counts(self) -> DeliveryCounts:
        """A snapshot; may be read from any thread."""
        return self._pace.counts

    def lag_s(self) -> float:
        """Age of the oldest row that has not been delivered; 0 when there is none. From any thread."""
        waiting = [group.oldest_ns for group in self._journal.groups()]
        waiting += [attempt.plan.oldest_ns for attempt in list(self._attempts.values())]
        return max(0.0, (self._clock.now_ns() - min(waiting)) / 1e9) if waiting else 0.0

    def step(self, *, flush: bool = False, until_ns: int | None = None, stop: threading.Event | None = None) -> int:
        """Plans what is ready (with `flush`: everything), tries each plan that is due; returns how many it settled.

        Begins no write after `until_ns` or once `stop` is set. Does not sleep.

        Raises:
            StorageFailed, JournalFailed: the machine failed; the process must stop, nothing is lost.
        """
        self._plan(flush)
        settled = 0
        written: list[Plan] = []
        told_ns = self._clock.now_ns()
        for together in self._together():
            now_ns = self._clock.now_ns()
            if (until_ns is not None and now_ns >= until_ns) or (stop is not None and stop.is_set()):
                break
            due = [attempt for attempt in together if now_ns >= max(attempt.due_ns, self._pace.paused_until_ns)]
            written += self._write(due)
            settled += sum(attempt.plan.id not in self._attempts for attempt in due)
            if (self._clock.now_ns() - told_ns) / 1e9 >= _ACKNOWLEDGE_AFTER_S:
                settled += self._acknowledge(written)
                written, told_ns = [], self._clock.now_ns()
        return settled + self._acknowledge(written)

    def run(self, stop: threading.Event) -> None:
        """Delivers until `stop` is set; for a thread of its own.

        Raises:
            StorageFailed, JournalFailed: as `step`.
        """
        idle_s = min(1.0, self._limits.flush_interval_s / 4)
        while not stop.is_set():
            settled = self.step(stop=stop)
            self._journal.maintain()
            if not settled:
                stop.wait(idle_s)

    def drain(self, deadline_ns: int) -> bool:
        """Delivers everything, however young; True when nothing is left, False at the deadline or when it is hopeless.

        What is left stays in the journal for the next start. A write that has begun is not cut off, so this may
        return later than the deadline by what one write takes.

        Raises:
            StorageFailed, JournalFailed: as `step`.
        """
        # Whatever the pauses so far: each plan gets one try now.
        self._pace.paused_until_ns = 0
        for attempt in self._attempts.values():
            attempt.due_ns = 0
        while self._attempts or self._journal.groups():
            if self._clock.now_ns() >= deadline_ns:
                return False
            if self.step(flush=True, until_ns=deadline_ns):
                continue
            due_ns = max(min((a.due_ns for a in self._attempts.values()), default=0), self._pace.paused_until_ns)
            if due_ns >= deadline_ns:
                return False
            self._sleep(max(0.0, (due_ns - self._clock.now_ns()) / 1e9))
        return True

    def _plan(self, flush: bool) -> None:
        now_ns = self._clock.now_ns()
        if now_ns < self._pace.paused_until_ns:
            return
        # A group with an open plan has to wait for it.
        busy = {(attempt.plan.table, attempt.plan.market) for attempt in self._attempts.values()}
        idle = [group for group in self._journal.groups() if (group.table, group.market) not in busy]
        ready = [group for group in idle if flush or self._limits.ready(group, now_ns)]
        if not ready:
            return
        # Gaps go before the rows that they explain, however young: a reader must not see a hole without its gap.
        markets = {group.market for group in ready}
        gaps = [group for group in idle if group.table == "gaps" and group.market in markets]
        ready = gaps + [group for group in ready if group not in gaps]
        before_ns = min(group.oldest_ns for group in ready) + max(1, round(self._limits.max_span_s * 1e9))
        try:
            plans = self._journal.plan(
                [group for group in ready if group.oldest_ns < before_ns],
                before_ns=before_ns,
                max_rows=self._limits.max_rows,
                max_bytes=self._limits.max_bytes,
            )
        except DiskFull as error:
            self._pace.failed(error)
            return
        self._attempts |= {plan.id: _Attempt(plan) for plan in plans}

    def _together(self) -> Iterator[list[_Attempt]]:
        """What the backend wants to be given in one call. Gaps stay ahead of the rows that they explain."""
        group: list[_Attempt] = []
        rows = size = 0
        for attempt in list(self._attempts.values()):
            plan = attempt.plan
            rows, size = rows + plan.rows, size + plan.bytes
            full = rows > self._backend.rows_at_once or size > _BYTES_AT_ONCE
            if group and (
                full or attempt.alone or group[-1].alone or (plan.table == "gaps") != (group[-1].plan.table == "gaps")
            ):
                yield group
                group, rows, size = [], plan.rows, plan.bytes
            group.append(attempt)
        if group:
            yield group

    def _write(self, attempts: list[_Attempt]) -> list[Plan]:
        """The plans that the backend has now. The others were refused or wait for their next turn."""
        # Not written again: of some, the journal may have forgotten rows before it found no room to forget the rest.
        stored = [attempt.plan for attempt in attempts if attempt.written]
        loaded = self._load([attempt for attempt in attempts if not attempt.written])
        if not loaded:
            return stored
        writes = [
            Write(attempt.plan.table, attempt.plan.market, rows, attempt.plan.writer, attempt.plan.content_hash)
            for attempt, rows in loaded
        ]
        tried = [(attempt, write) for (attempt, _), write in zip(loaded, writes, strict=True)]
        written, refused = self._try(tried)
        stored += written
        if not refused:
            return stored
        # Lost permissions are no fault of the rows, also where they come back between a write and a look at the
        # backend: rows are refused if they were when it was well before, and is well still.
        if self._well():
            for attempt, write, _ in refused:
                written, refused_again = self._try([(attempt, write)])
                stored += written
                for _, _, error in refused_again:
                    if self._well():
                        self._refuse(attempt, error)
                    else:
                        self._postpone(attempt, error)
        else:
            self._postpone_all([(attempt, error) for attempt, _, error in refused])
        return stored

    def _try(
        self, tried: Sequence[tuple[_Attempt, Write]]
    ) -> tuple[list[Plan], list[tuple[_Attempt, Write, PermanentBackendError]]]:
        """The plans that the backend has now, and what it will never take, as it says; the others are dealt with."""
        outcomes: Sequence[Exception | None]
        try:
            outcomes = self._backend.write_many([write for _, write in tried])
        except StorageFailed as error:
            self._pace.note(error)
            raise
        except Exception as error:  # noqa: BLE001 - not foreseen, so nobody knows that the rows are at fault
            outcomes = [untraced(error)] * len(tried)
            for attempt, _ in tried:
                attempt.alone = True
        written, refused, failed = [], [], []
        for (attempt, write), outcome in zip(tried, outcomes, strict=True):
            if outcome is None:
                self._pace.succeeded()
                written.append(attempt.plan)
            elif isinstance(outcome, PartialWriteError):
                self._refuse_partly(attempt, outcome)
            elif isinstance(outcome, PermanentBackendError):
                refused.append((attempt, write, outcome))
            else:
                failed.append((attempt, outcome))
        self._postpone_all(failed)
        return written, refused

    def _well(self) -> bool:
        """Whether the backend takes rows at all."""
        try:
            self._backend.check()
        except StorageFailed:
            raise
        except Exception:  # noqa: BLE001 - whatever it is, the backend is not well
            return False
        return True

    def _load(self, attempts: Sequence[_Attempt]) -> list[tuple[_Attempt, pa.Table]]:
        """The rows of each plan, but of those that turned out to be damaged or not of the table, and were refused."""
        from collector.journal.loading import load

        found = load(self._journal, [attempt.plan for attempt in attempts])
        loaded = []
        for attempt in attempts:
            rows = found[attempt.plan.id]
            if isinstance(rows, DamagedBatchError):
                damages = damages_in(self._journal, attempt.plan, rows.ids)
                if self._refuse(attempt, rows, rows.ids):
                    for damage in damages:
                        self._on_damaged(attempt.plan.market, damage)
            elif isinstance(rows, ValueError):
                self._refuse(attempt, rows)
            else:
                loaded.append((attempt, rows))
        return loaded

    def _readable(self, plan: Plan) -> list[Batch]:
        try:
            return list(self._journal.load(plan))
        except DamagedBatchError:
            return []

    def _refuse_partly(self, attempt: _Attempt, error: PartialWriteError) -> None:
        """Refuses the batches that hold rows which the backend will not have; the others are written once more."""
        ids: list[int] = []
        lost: list[Batch] = []
        failed = set(error.failed_keys)
        for id_, batch in zip(attempt.plan.ids, self._readable(attempt.plan), strict=False):
            at = [row for row, key in enumerate(_keys(batch)) if key in failed]
            if at:
                ids.append(id_)
                lost.append(taken(batch, at))
        self._refuse(attempt, error, frozenset(ids) if ids else None, lost or None)

    def _refuse(
        self,
        attempt: _Attempt,
        error: Exception,
        ids: frozenset[int] | None = None,
        lost: list[Batch] | None = None,
    ) -> bool:
        """False when it has to wait, for lack of room."""
        plan = attempt.plan
        if lost is None:
            lost = self._readable(plan) if ids is None else []
        try:
            refused_rows = self._journal.refuse(plan, str(error), ids=ids)
        except DiskFull as full:
            self._postpone(attempt, full)
            return False
        del self._attempts[plan.id]
        self._pace.refused(refused_rows, error)
        detail = f"{refused_rows} rows of {plan.table} went to the dead letters: {error}"
        self._on_event(self._clock.now_ns(), plan.market, "dead_letter", detail)
        if lost:
            self._on_refused(plan.market, lost)
        return True

    def _postpone_all(self, failed: Sequence[tuple[_Attempt, Exception]]) -> None:
        """One request that failed is one failure, however many plans were in it."""
        known: Exception | None = None
        for attempt, error in failed:
            self._postpone(attempt, error, counts=error is not known)
            known = error

    def _postpone(self, attempt: _Attempt, error: Exception, *, counts: bool = True) -> None:
        attempt.failures += 1
        attempt.due_ns = self._clock.now_ns() + self._pace.pause_ns(attempt.failures, error)
        if counts:
            self._pace.failed(error)

    def _acknowledge(self, plans: list[Plan]) -> int:
        if not plans:
            return 0
        try:
            self._journal.acknowledge(plans)
        except DiskFull as error:
            for plan in plans:
                self._attempts[plan.id].written = True
                self._postpone(self._attempts[plan.id], error)
            return 0
        for plan in plans:
            del self._attempts[plan.id]
        self._pace.delivered(plans)
        return len(plans)


def _keys(batch: Batch) -> list[tuple[Any, ...]]:
    """The key of each row, as backends name it."""
    from collector.journal.arrow import to_arrow
    from storage_backends.schema import TABLES

    rows = to_arrow([batch])
    return list(zip(*(rows.column(name).to_pylist() for name in TABLES[batch.table].key), strict=True))
