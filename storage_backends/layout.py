"""Where a part of a table lies: table/exchange=E/symbol=S/date=YYYY-MM-DD/part-{first}-{last}-{writer}.{hash8}.parquet

or, as JSON lines, the same with `.jsonl.zst`.

`first` and `last` are the smallest and largest value of the table's span column (`Table.span`) in the part; `hash8`
opens the content hash of the write that the part came from. The date is the UTC date of the rows' own time, so one
write gives one part for each date it touches, and the same write always gives the same names. Names that begin with a
dot are unfinished and belong to nobody but their writer. The writer `compacted` is nobody's own: its parts hold all
rows of their date as a scan gave them, and took the place of other parts.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from storage_backends.errors import PermanentBackendError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from storage_backends.interface import Market
    from storage_backends.schema import Table

_EPOCH = dt.date(1970, 1, 1)
_LAST_DAY = (dt.date.max - _EPOCH).days
_NS_PER_DAY = 86_400_000_000_000
_PART = re.compile(r"part-(-?\d{1,19})-(-?\d{1,19})-([A-Za-z0-9][A-Za-z0-9_-]*)\.([0-9a-f]{8})(\.parquet|\.jsonl\.zst)")
PARQUET = ".parquet"
JSONL = ".jsonl.zst"
SUFFIXES = (PARQUET, JSONL)
COMPACTED = "compacted"


class PartName(NamedTuple):
    """What a file name says about the rows in it."""

    first: int
    last: int
    writer: str
    hash8: str
    suffix: str = PARQUET

    def __str__(self) -> str:
        return f"part-{self.first}-{self.last}-{self.writer}.{self.hash8}{self.suffix}"


def parse_part(name: str) -> PartName | None:
    """The reverse of `str(PartName)`; None for any other name."""
    match = _PART.fullmatch(name)
    return PartName(int(match[1]), int(match[2]), match[3], match[4], match[5]) if match else None


def market_folder(table: str, market: Market) -> str:
    """The folder of one market in one table, relative to the store's root."""
    return f"{table}/exchange={market.exchange}/symbol={market.symbol}"


def parse_date(folder: str) -> dt.date | None:
    """The date of a folder `date=YYYY-MM-DD`; None for any other name."""
    try:
        date = dt.date.fromisoformat(folder.removeprefix("date="))
    except ValueError:
        return None
    return date if folder == date_folder(date) else None


def date_folder(date: dt.date) -> str:
    """The folder of a date."""
    return f"date={date.isoformat()}"


class TimeRange(NamedTuple):
    """Times t of one table's time column with start <= t < end, in that column's unit; None leaves an end open."""

    start: int | None
    end: int | None

    @classmethod
    def of(cls, table: Table, start_ns: int | None, end_ns: int | None) -> TimeRange:
        """The whole units whose instant lies in [start_ns, end_ns)."""
        unit = table.ns_per_unit
        return cls(
            None if start_ns is None else -(-start_ns // unit),
            None if end_ns is None else -(-end_ns // unit),
        )

    @property
    def open(self) -> bool:
        """Whether every time lies in it."""
        return self.start is None and self.end is None

    def widened(self, units: int) -> TimeRange:
        """The same with both ends moved outwards."""
        return TimeRange(
            None if self.start is None else self.start - units,
            None if self.end is None else self.end + units,
        )

    def meets(self, first: int, last: int) -> bool:
        """Whether any time in [first, last] may lie in it."""
        return (self.start is None or last >= self.start) and (self.end is None or first < self.end)

    def covers(self, first: int, last: int) -> bool:
        """Whether every time in [first, last] lies in it."""
        return (self.start is None or first >= self.start) and (self.end is None or last < self.end)

    def dates(self, table: Table) -> tuple[dt.date | None, dt.date | None]:
        """The first and the last UTC date on which a time of it may lie; None leaves an end open."""
        units_per_day = _NS_PER_DAY // table.ns_per_unit
        first = None if self.start is None else _date(self.start // units_per_day)
        last = None if self.end is None else _date((self.end - 1) // units_per_day)
        return first, last


def _date(day: int) -> dt.date:
    """The date so many days after 1970 began; the nearest one there is, where rows have none."""
    return _EPOCH + dt.timedelta(days=min(max(day, -1), _LAST_DAY))


def split_by_date(table: Table, rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Gives `date=YYYY-MM-DD` and its rows, in their order, for each UTC date that occurs, ascending.

    Raises:
        PermanentBackendError: a time before 1970 or after 9999.
    """
    times = rows.column(table.time).to_numpy()
    days = times // (_NS_PER_DAY // table.ns_per_unit)
    present = np.unique(days)
    if present[0] < 0 or present[-1] > _LAST_DAY:
        raise PermanentBackendError(
            f"table {table.name}: {table.time} {times.min()} to {times.max()} is not a time in {table.time_unit} "
            "between 1970 and 9999"
        )
    ascending = bool((days[1:] >= days[:-1]).all())
    for day in present:
        date = _EPOCH + dt.timedelta(days=int(day))
        if ascending:  # as nearly always; a slice copies nothing
            start, stop = np.searchsorted(days, day, "left"), np.searchsorted(days, day, "right")
            part = rows.slice(start, stop - start)
        else:
            part = rows.filter(days == day)
        yield date_folder(date), part


def name_part(table: Table, rows: pa.Table, writer: str, content_hash: str, suffix: str = PARQUET) -> PartName:
    """The name for rows of one date."""
    span = rows.column(table.span).to_numpy()
    return PartName(int(span.min()), int(span.max()), writer, content_hash[:8], suffix)


def range_of_date(date: dt.date) -> tuple[int, int]:
    """The instants of a UTC date, ns since the Unix epoch: the first one, and the first one after it."""
    start_ns = (date - _EPOCH).days * _NS_PER_DAY
    return start_ns, start_ns + _NS_PER_DAY
