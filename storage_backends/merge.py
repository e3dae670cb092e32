"""Key order over parts that overlap, one row per key, holding no more than the parts that overlap at one key."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from storage_backends.key_order import in_key_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from storage_backends.schema import Table


class Chunk(NamedTuple):
    """Some rows of a part in key order; `last` when the part has no more."""

    rows: pa.Table
    last: bool


class Part(NamedTuple):
    """Rows that were written together. `name` decides between equal rows.

    `first` is a lower bound of the key's first column, None where it is unknown. `read` gives the rows in key order,
    one per key; it is called once, when the merge reaches `first`.
    """

    name: str
    first: int | None
    read: Callable[[], Iterator[Chunk]]


@dataclass
class _Run:
    """A part that is being read: rows that are loaded and not yet given."""

    name: str
    chunks: Iterator[Chunk]
    rows: pa.Table | None = field(default=None)
    last: bool = False

    def load(self) -> None:
        chunk = next(self.chunks, None)
        if chunk is None:
            self.last = True
            return
        self.rows = chunk.rows if self.rows is None else pa.concat_tables([self.rows, chunk.rows])
        self.last = chunk.last

    def end(self, lead: str) -> Any:
        """The largest loaded key: below it nothing more can come. None while nothing is loaded."""
        return self.rows.column(lead)[-1].as_py() if self.rows is not None and len(self.rows) else None

    def take_below(self, lead: str, limit: Any) -> pa.Table | None:
        """Cuts off the rows whose key is below `limit`; all rows for None."""
        rows = self.rows
        if rows is None or limit is None:
            self.rows = None
            return rows
        count = int(np.searchsorted(rows.column(lead).to_numpy(), limit))
        self.rows = rows.slice(count)
        return rows.slice(0, count)


def merge(table: Table, parts: Sequence[Part]) -> Iterator[pa.Table]:
    """Gives all rows of `parts` in key order, one per key; of rows with one key the one that `table.prefer` names."""
    lead = table.key[0]
    waiting = deque(sorted(parts, key=lambda part: (part.first is not None, part.first or 0, part.name)))
    runs: list[_Run] = []
    while waiting or runs:
        while waiting and (waiting[0].first is None or not runs):
            runs.append(_begin(waiting.popleft()))
        _fill(runs)
        limit, lowest = _limit(lead, runs, waiting)
        given = [(run.name, run.take_below(lead, limit)) for run in runs]
        ready = [rows for _, rows in sorted(given, key=lambda item: item[0]) if rows is not None and len(rows)]
        if ready:
            yield ready[0] if len(ready) == 1 else in_key_order(table, pa.concat_tables(ready))
        runs = [run for run in runs if not run.last or (run.rows is not None and len(run.rows))]
        if lowest is not None:
            lowest.load()
        elif waiting:
            runs.append(_begin(waiting.popleft()))


def _begin(part: Part) -> _Run:
    return _Run(part.name, part.read())


def _fill(runs: list[_Run]) -> None:
    for run in runs:
        while not run.last and (run.rows is None or not len(run.rows)):
            run.load()


def _limit(lead: str, runs: list[_Run], waiting: deque[Part]) -> tuple[Any, _Run | None]:
    """The smallest key that may still come from elsewhere, and the run it would come from (None: the next part)."""
    limit = waiting[0].first if waiting else None
    lowest = None
    for run in runs:
        end = None if run.last else run.end(lead)
        if end is not None and (limit is None or end < limit):
            limit, lowest = end, run
    return limit, lowest
