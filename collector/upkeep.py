"""One pass over a store's days: forget what is too old, merge what is over, forget more where the budget says so."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from collector.clock import Clock
from collector.errors import MachineFailed
from collector.retention import KEPT_TABLES, WRITER, Deletion, beyond_budget, event_rows, expired
from collector.store import StoreWriter
from collector.times import today
from storage_backends.days import Day, Days
from storage_backends.errors import BackendError, StorageFailed
from storage_backends.interface import Backend

Say = Callable[[str], None]


class MergedDay(msgspec.Struct):
    """A day of one table and market that is one file now; in a dry run, that would be."""

    exchange: str
    symbol: str
    table: str
    date: str
    files_before: int
    bytes_before: int
    bytes: int | None


class DeletedDate(msgspec.Struct):
    """A date that is gone; in a dry run, that would go."""

    date: str
    files: int
    bytes: int
    reason: str


class UpkeepReport(msgspec.Struct):
    """What a pass did, or in a dry run would do. `problems` names what stayed as it was, and why."""

    dry_run: bool
    before: str
    merged: list[MergedDay] = []
    deleted: list[DeletedDate] = []
    problems: list[str] = []
    used_bytes: int = 0
    budget_bytes: int | None = None

    @property
    def over_budget(self) -> bool:
        """Whether more is used than the budget allows, after everything that may be deleted is gone."""
        return self.budget_bytes is not None and self.used_bytes > self.budget_bytes


def used_bytes(data_dir: Path) -> int:
    """Bytes of all files in the data folder: tables, captures and journal."""
    total = 0
    for folder, _, names in os.walk(data_dir):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # merged or delivered meanwhile
                total += Path(folder, name).lstat().st_size
    return total


class Upkeep:
    """A pass over a store's days, to be called within `days.alone()`.

    What is used is all of `data_dir`, or for a store that lies elsewhere (None) its days.

    `say` is told what is deleted before it is; a row of `events` says so before that, too. With `dry_run` nothing is
    touched.
    """

    def __init__(
        self, days: Days, backend: Backend, data_dir: Path | None, clock: Clock, say: Say, *, dry_run: bool
    ) -> None:
        self._days = days
        self._backend = backend
        self._data_dir = data_dir
        self._clock = clock
        self._say = say
        self._report = UpkeepReport(dry_run, "")

    def run(self, before: dt.date, retain_days: int | None = None, budget_bytes: int | None = None) -> UpkeepReport:
        """Deletes what is older than `retain_days`, merges days before `before`, deletes down to the budget.

        Raises:
            MachineFailed: the disk failed.
        """
        report, date = self._report, today(self._clock)
        report.before, report.budget_bytes = before.isoformat(), budget_bytes
        days = list(self._days.days())
        if retain_days is not None:
            self._delete(expired(days, date, retain_days))
        gone = {one.date for one in report.deleted}
        for day in days:
            if (
                day.date < before
                and not day.compacted
                and (day.date.isoformat() not in gone or day.table in KEPT_TABLES)
            ):
                self._merge(day)
        if self._data_dir is not None:
            report.used_bytes = used_bytes(self._data_dir)
        else:
            report.used_bytes = sum(day.bytes for day in (days if report.dry_run else self._days.days()))
        if report.dry_run:
            report.used_bytes -= sum(one.bytes for one in report.deleted)
        if budget_bytes is not None:
            left = [day for day in self._days.days() if not (report.dry_run and day.date.isoformat() in gone)]
            self._delete(beyond_budget(left, date, report.used_bytes, budget_bytes), from_used=True)
        return report

    def _merge(self, day: Day) -> None:
        done = None
        if not self._report.dry_run:
            done = self._try(f"{_name(day)} stays in {day.files:,} files", lambda: self._days.compact(day))
            if done is None:
                return
        self._report.merged.append(
            MergedDay(*day.market, day.table, day.date.isoformat(), day.files, day.bytes, done and done.bytes)
        )
        after = "" if done is None else f" ({done.bytes:,} bytes)"
        self._say(f"{_name(day)}: {day.files:,} files ({day.bytes:,} bytes) into one{after}")

    def _delete(self, deletions: list[Deletion], *, from_used: bool = False) -> None:
        for one in deletions:
            self._say(f"deleting {one.date}, {one.files:,} files of {one.bytes:,} bytes: {one.reason}")
            if not self._report.dry_run:
                self._record(one)
                gone = [self._try(f"{_name(day)} is not deleted", partial(self._forget, day)) for day in one.days]
                if not all(gone):
                    continue
            self._report.deleted.append(DeletedDate(one.date.isoformat(), one.files, one.bytes, one.reason))
            if from_used:
                self._report.used_bytes -= one.bytes

    def _record(self, deletion: Deletion) -> None:
        writer = StoreWriter(self._backend, WRITER, ("--backend", "of this store"))
        for market, batch in event_rows(deletion, self._clock.now_ns()):
            writer.add(*market, [batch])
        writer.flush()

    def _forget(self, day: Day) -> bool:
        self._days.delete(day)
        return True

    def _try(self, otherwise: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except StorageFailed as error:
            raise MachineFailed(str(error)) from error
        except BackendError as error:
            self._report.problems.append(f"{otherwise}: {error}")
            self._say(self._report.problems[-1])
            return None


def _name(day: Day) -> str:
    return f"{day.market.exchange} {day.market.symbol} {day.table} {day.date}"
