"""What becomes of rows that can never be delivered: they go to the journal's dead letters, and who asked is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collector.core.batch import taken
from collector.journal.damage import DamagedBatchError, damages_in
from collector.journal.errors import DiskFull

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.clock import Clock
    from collector.core.batch import Batch
    from collector.journal.journal import Journal
    from collector.journal.pace import Pace
    from collector.journal.plans import Damage
    from collector.journal.schedule import Attempt, Schedule
    from storage_backends.errors import PartialWriteError
    from storage_backends.interface import Market


class Undeliverable:
    """Moves rows to the dead letters. `on_event`, `on_refused` and `on_damaged` are those of a `Deliverer`."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        schedule: Schedule,
        pace: Pace,
        *,
        on_event: Callable[[int, Market | None, str, str], None],
        on_refused: Callable[[Market, list[Batch]], None],
        on_damaged: Callable[[Market, Damage], None],
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._schedule = schedule
        self._pace = pace
        self._on_event = on_event
        self._on_refused = on_refused
        self._on_damaged = on_damaged

    def refuse(self, attempt: Attempt, error: Exception) -> None:
        """Gives up all rows of a plan."""
        readable = self._readable(attempt)
        if readable is not None:
            self._refuse(attempt, error, None, readable)

    def refuse_damaged(self, attempt: Attempt, error: DamagedBatchError) -> None:
        """Gives up the batches that cannot be read; the others are written once more."""
        damages = damages_in(self._journal, attempt.plan, error.ids)
        if self._refuse(attempt, error, error.ids, []):
            for damage in damages:
                self._on_damaged(attempt.plan.market, damage)

    def refuse_partly(self, attempt: Attempt, error: PartialWriteError) -> None:
        """Gives up the batches that hold rows which the backend will not have; the others are written once more."""
        ids: list[int] = []
        lost: list[Batch] = []
        failed = set(error.failed_keys)
        readable = self._readable(attempt)
        if readable is None:
            return
        for id_, batch in zip(attempt.plan.ids, readable, strict=True):
            at = [row for row, key in enumerate(_keys(batch)) if key in failed]
            if at:
                ids.append(id_)
                lost.append(taken(batch, at))
        if ids:
            self._refuse(attempt, error, frozenset(ids), lost)
        else:  # it names none that the plan has
            self._refuse(attempt, error, None, readable)

    def _refuse(self, attempt: Attempt, error: Exception, ids: frozenset[int] | None, lost: list[Batch]) -> bool:
        """False when it has to wait, for lack of room."""
        plan = attempt.plan
        try:
            refused_rows = self._journal.refuse(plan, str(error), ids=ids)
        except DiskFull as full:
            self._schedule.postpone(attempt, full)
            return False
        self._schedule.settled(plan)
        self._pace.refused(refused_rows, error)
        detail = f"{refused_rows} rows of {plan.table} went to the dead letters: {error}"
        self._on_event(self._clock.now_ns(), plan.market, "dead_letter", detail)
        if lost:
            self._on_refused(plan.market, lost)
        return True

    def _readable(self, attempt: Attempt) -> list[Batch] | None:
        """The batches of a plan. None where some were damaged since they were written: those are given up first, for a
        gap of their own, and the others are written, and refused, once more."""
        try:
            return list(self._journal.load(attempt.plan))
        except DamagedBatchError as error:
            self.refuse_damaged(attempt, error)
            return None


def _keys(batch: Batch) -> list[tuple[Any, ...]]:
    """The key of each row, as backends name it."""
    from collector.journal.arrow import to_arrow
    from storage_backends.schema import TABLES

    rows = to_arrow([batch])
    return list(zip(*(rows.column(name).to_pylist() for name in TABLES[batch.table].key), strict=True))
