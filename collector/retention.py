"""Which whole days a store forgets, and the rows in `events` that say so.

`gaps` and `events` stay whatever the settings: they are small, and they say what happened to the rest. A day is deleted
over all markets and tables together, the oldest first, and never today's.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from collector.core.batch import Batch, Column
from storage_backends.days import Day
from storage_backends.interface import Market

KEPT_TABLES = frozenset({"gaps", "events"})
WRITER = "retention"
BUSY = "is being compacted by another process"

_SEQUENCE = 1_000_000  # far from the collector's own, which may write an event of the same instant


@dataclass(frozen=True, slots=True)
class Deletion:
    """One date that is to go, and why."""

    date: dt.date
    days: tuple[Day, ...]
    reason: str

    @property
    def bytes(self) -> int:
        """What it frees."""
        return sum(day.bytes for day in self.days)

    @property
    def files(self) -> int:
        """Files that go with it."""
        return sum(day.files for day in self.days)


def expired(days: Iterable[Day], today: dt.date, retain_days: int) -> list[Deletion]:
    """The dates that lie more than `retain_days` before `today`, oldest first."""
    first = today - dt.timedelta(days=retain_days)
    reason = f"older than --retain-days {retain_days}"
    return [Deletion(date, some, reason) for date, some in _dates(days) if date < first]


def beyond_budget(days: Iterable[Day], today: dt.date, used_bytes: int, budget_bytes: int) -> list[Deletion]:
    """The oldest dates before `today` without which `used_bytes` are within the budget, as far as days can do it."""
    found: list[Deletion] = []
    excess = used_bytes - budget_bytes
    for date, some in _dates(days):
        if excess <= 0 or date >= today:
            break
        found.append(Deletion(date, some, f"{used_bytes:,} bytes are more than --disk-budget {budget_bytes:,}"))
        excess -= found[-1].bytes
    return found


def event_rows(deletion: Deletion, now_ns: int) -> list[tuple[Market, Batch]]:
    """A row of `events` for each market, stating what is about to be deleted there."""
    rows = []
    for market, days in groupby(sorted(deletion.days, key=lambda day: day.market), key=lambda day: day.market):
        what = ", ".join(f"{day.table} {day.files:,} files {day.bytes:,} bytes" for day in days)
        columns: dict[str, Column] = {
            "time_ns": [now_ns],
            "sequence": [_SEQUENCE],
            "kind": ["day_deleted"],
            "stream": [None],
            "connection": [None],
            "detail": [f"{deletion.date} ({deletion.reason}): {what}"],
            "text": [None],
        }
        rows.append((market, Batch("events", columns)))
    return rows


def _dates(days: Iterable[Day]) -> Iterator[tuple[dt.date, tuple[Day, ...]]]:
    wanted = sorted((day for day in days if day.table not in KEPT_TABLES), key=lambda day: day.date)
    for date, some in groupby(wanted, key=lambda day: day.date):
        yield date, tuple(some)
