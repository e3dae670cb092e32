"""What a backend that keeps files by day can do beside `Backend`: make few files of many, and forget whole days."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, NamedTuple, Protocol

from storage_backends.interface import Market

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


class Day(NamedTuple):
    """What one market has in one table on one UTC date. `compacted`: in one file, with one row per key."""

    table: str
    market: Market
    date: dt.date
    files: int
    bytes: int
    compacted: bool


class Days(Protocol):
    """Raises (every method) what `Backend` raises; readers and writers may be at work meanwhile."""

    def alone(self) -> AbstractContextManager[bool]:
        """Keeps others from compacting and deleting in this store; False where somebody else is doing so."""
        ...

    def days(self) -> Iterator[Day]:
        """Every day that has rows, by table, market and date."""
        ...

    def compact(self, day: Day) -> Day:
        """Puts one file in the place of a day's many, and gives the day as it is then.

        The file holds what a scan of that date gives, each key once. It is durable before the others go, so that a
        scan at any moment, and after a crash at any moment, gives every row once. To be called within `alone`.

        Raises:
            StorageFull: there is no room for the new file beside the old ones; nothing was touched.
        """
        ...

    def delete(self, day: Day) -> None:
        """Forgets a day with all its rows, from one moment to the next. To be called within `alone`."""
        ...
