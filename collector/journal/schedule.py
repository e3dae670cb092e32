"""What is written when: plans made of what waits, which of them go in one call, and which wait after a failure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.journal.errors import DiskFull

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from collector.clock import Clock
    from collector.journal.journal import Journal
    from collector.journal.limits import DeliveryLimits
    from collector.journal.pace import Pace
    from collector.journal.plans import Plan

_BYTES_AT_ONCE = 4 << 20


@dataclass(slots=True)
class Attempt:
    """A plan until its write is settled."""

    plan: Plan
    failures: int = 0
    due_ns: int = 0
    alone: bool = False
    """Something that nobody foresaw came of a write of several; which of them it was shows when each goes by itself."""
    written: bool = False
    """The backend has it, and the journal has not taken note yet."""


class Schedule:
    """The open plans of a journal, those of an earlier run first.

    What fails for the moment is tried again with growing, random pauses, each plan by itself, and all of them together
    when nothing succeeds.
    """

    def __init__(self, journal: Journal, clock: Clock, limits: DeliveryLimits, pace: Pace) -> None:
        self._journal = journal
        self._clock = clock
        self._limits = limits
        self._pace = pace
        self._attempts = {plan.id: Attempt(plan) for plan in journal.open_plans()}

    def plan(self, *, flush: bool) -> None:
        """Plans what is ready, with `flush` everything."""
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
        self._attempts |= {plan.id: Attempt(plan) for plan in plans}

    def together(self, rows_at_once: int) -> Iterator[list[Attempt]]:
        """What the backend wants to be given in one call. Gaps stay ahead of the rows that they explain."""
        group: list[Attempt] = []
        rows = size = 0
        for attempt in list(self._attempts.values()):
            plan = attempt.plan
            rows, size = rows + plan.rows, size + plan.bytes
            full = rows > rows_at_once or size > _BYTES_AT_ONCE
            if group and (
                full or attempt.alone or group[-1].alone or (plan.table == "gaps") != (group[-1].plan.table == "gaps")
            ):
                yield group
                group, rows, size = [], plan.rows, plan.bytes
            group.append(attempt)
        if group:
            yield group

    def due(self, attempts: Sequence[Attempt], now_ns: int) -> list[Attempt]:
        """Those that may be tried now."""
        return [attempt for attempt in attempts if now_ns >= max(attempt.due_ns, self._pace.paused_until_ns)]

    def next_due_ns(self) -> int:
        """When the first of them may be tried."""
        return max(min((a.due_ns for a in self._attempts.values()), default=0), self._pace.paused_until_ns)

    def hasten(self) -> None:
        """Whatever the pauses so far: each plan gets one try now."""
        self._pace.paused_until_ns = 0
        for attempt in self._attempts.values():
            attempt.due_ns = 0

    def oldest_ns(self) -> list[int]:
        """When the oldest row of each open plan was committed. From any thread."""
        return [attempt.plan.oldest_ns for attempt in list(self._attempts.values())]

    def is_open(self, plan: Plan) -> bool:
        """Whether its write is not settled yet."""
        return plan.id in self._attempts

    def is_empty(self) -> bool:
        """Whether no plan is open."""
        return not self._attempts

    def settled(self, plan: Plan) -> None:
        """Its rows are in the backend, or will never be."""
        del self._attempts[plan.id]

    def written(self, plan: Plan, error: Exception) -> None:
        """The backend has it, but the journal failed to take note, which is to be tried again."""
        self._attempts[plan.id].written = True
        self.postpone(self._attempts[plan.id], error)

    def postpone_all(self, failed: Sequence[tuple[Attempt, Exception]]) -> None:
        """One request that failed is one failure, however many plans were in it."""
        known: Exception | None = None
        for attempt, error in failed:
            self.postpone(attempt, error, counts=error is not known)
            known = error

    def postpone(self, attempt: Attempt, error: Exception, *, counts: bool = True) -> None:
        """Lets it wait for its next turn, longer each time."""
        attempt.failures += 1
        attempt.due_ns = self._clock.now_ns() + self._pace.pause_ns(attempt.failures, error)
        if counts:
            self._pace.failed(error)
