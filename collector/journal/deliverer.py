"""Takes what waits in the journal to the backend: writes, judges what is refused, repeats, acknowledges.

Nothing is forgotten before the backend has said yes, and a write that a crash cut off is repeated exactly as planned.
What is written when says `schedule`, after which pause again `pace`. What the backend refuses for good goes to the
journal's dead letters (`undeliverable`), so that the rest goes on.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from collector.journal.damage import DamagedBatchError
from collector.journal.errors import DiskFull
from collector.journal.limits import FULL_JITTER, DeliveryLimits
from collector.journal.pace import Pace, no_event
from collector.journal.schedule import Schedule
from collector.journal.undeliverable import Undeliverable
from storage_backends.errors import PartialWriteError, PermanentBackendError, StorageFailed, untraced
from storage_backends.interface import Write

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    import pyarrow as pa
    import tenacity

    from collector.clock import Clock
    from collector.core.batch import Batch
    from collector.journal.journal import Journal
    from collector.journal.pace import DeliveryCounts
    from collector.journal.plans import Damage, Plan
    from collector.journal.schedule import Attempt
    from storage_backends.interface import Backend, Market


_ACKNOWLEDGE_AFTER_S = 5.0


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
        self._sleep = sleep
        self._pace = Pace(journal, clock, wait, on_event)
        self._schedule = Schedule(journal, clock, self._limits, self._pace)
        self._undeliverable = Undeliverable(
            journal, clock, self._schedule, self._pace, on_event=on_event, on_refused=on_refused, on_damaged=on_damaged
        )

    @property
    def counts(self) -> DeliveryCounts:
        """A snapshot; may be read from any thread."""
        return self._pace.counts

    def lag_s(self) -> float:
        """Age of the oldest row that has not been delivered; 0 when there is none. From any thread."""
        waiting = [group.oldest_ns for group in self._journal.groups()] + self._schedule.oldest_ns()
        return max(0.0, (self._clock.now_ns() - min(waiting)) / 1e9) if waiting else 0.0

    def step(self, *, flush: bool = False, until_ns: int | None = None, stop: threading.Event | None = None) -> int:
        """Plans what is ready (with `flush`: everything), tries each plan that is due; returns how many it settled.

        Begins no write after `until_ns` or once `stop` is set. Does not sleep.

        Raises:
            StorageFailed, JournalFailed: the machine failed; the process must stop, nothing is lost.
        """
        self._schedule.plan(flush=flush)
        settled = 0
        written: list[Plan] = []
        told_ns = self._clock.now_ns()
        for together in self._schedule.together(self._backend.rows_at_once):
            now_ns = self._clock.now_ns()
            if (until_ns is not None and now_ns >= until_ns) or (stop is not None and stop.is_set()):
                break
            due = self._schedule.due(together, now_ns)
            written += self._write(due)
            settled += sum(not self._schedule.is_open(attempt.plan) for attempt in due)
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
        self._schedule.hasten()
        while not self._schedule.is_empty() or self._journal.groups():
            if self._clock.now_ns() >= deadline_ns:
                return False
            if self.step(flush=True, until_ns=deadline_ns):
                continue
            due_ns = self._schedule.next_due_ns()
            if due_ns >= deadline_ns:
                return False
            self._sleep(max(0.0, (due_ns - self._clock.now_ns()) / 1e9))
        return True

    def _write(self, attempts: list[Attempt]) -> list[Plan]:
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
                        self._undeliverable.refuse(attempt, error)
                    else:
                        self._schedule.postpone(attempt, error)
        else:
            self._schedule.postpone_all([(attempt, error) for attempt, _, error in refused])
        return stored

    def _try(
        self, tried: Sequence[tuple[Attempt, Write]]
    ) -> tuple[list[Plan], list[tuple[Attempt, Write, PermanentBackendError]]]:
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
                self._undeliverable.refuse_partly(attempt, outcome)
            elif isinstance(outcome, PermanentBackendError):
                refused.append((attempt, write, outcome))
            else:
                failed.append((attempt, outcome))
        self._schedule.postpone_all(failed)
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

    def _load(self, attempts: Sequence[Attempt]) -> list[tuple[Attempt, pa.Table]]:
        """The rows of each plan, but of those that turned out to be damaged or not of the table, and were refused."""
        from collector.journal.loading import load

        found = load(self._journal, [attempt.plan for attempt in attempts])
        loaded = []
        for attempt in attempts:
            rows = found[attempt.plan.id]
            if isinstance(rows, DamagedBatchError):
                self._undeliverable.refuse_damaged(attempt, rows)
            elif isinstance(rows, ValueError):
                self._undeliverable.refuse(attempt, rows)
            else:
                loaded.append((attempt, rows))
        return loaded

    def _acknowledge(self, plans: list[Plan]) -> int:
        if not plans:
            return 0
        try:
            self._journal.acknowledge(plans)
        except DiskFull as error:
            for plan in plans:
                self._schedule.written(plan, error)
            return 0
        for plan in plans:
            self._schedule.settled(plan)
        self._pace.delivered(plans)
        return len(plans)
