"""Rows on their way out of the core, by column.

A batch is what one market added to one table since it was last drained. Columns keep the form in which the core
worked: integers with their decimals, nested lists as counts and flat values. Nothing is copied or rounded before a
backend asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Fixed:
    """Exact decimals: value = units / 10**decimals, which is the float64 that the exchange's text parses to."""

    units: NDArray[np.int64]
    decimals: int

    def __len__(self) -> int:
        return len(self.units)

    def floats(self, out: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """The values as float64, in `out` if it is given.

        Correctly rounded, since both operands are exact: units below 2**53, powers of ten up to 10**22.
        """
        return np.divide(self.units, float(10**self.decimals), out=out)


@dataclass(frozen=True, slots=True)
class Nested:
    """A list in each row. `counts` has one length a row; -1 stands for a null list."""

    counts: NDArray[np.int32]
    values: Fixed | NDArray[Any]

    def __len__(self) -> int:
        return len(self.counts)


Column: TypeAlias = list[Any] | NDArray[Any] | Fixed | Nested
"""Plain lists may hold None (null); arrays may not."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one table and one market; every column has `rows` entries. NaN inside `Nested` float values is null."""

    table: str
    columns: dict[str, Column]

    @property
    def rows(self) -> int:
        return len(next(iter(self.columns.values())))


JOINED_ROWS = 4096
"""Rows up to which `joined` makes batches longer."""


def joined(batches: Iterable[Batch]) -> list[Batch]:
    """The same rows of each table in the same order, in fewer batches.

    Each batch costs the journal and the deliverer as much as some hundred rows do. A backlog of many seconds has many.
    """
    result: list[Batch] = []
    for table, group in groupby(sorted(batches, key=_table), key=_table):
        waiting: list[Batch] = []
        rows = 0
        shape = None
        for batch in group:
            if waiting and (rows + batch.rows > JOINED_ROWS or _shape(batch) != shape):
                result.append(_join(table, waiting))
                waiting, rows = [], 0
            if not waiting:
                shape = _shape(batch)
            waiting.append(batch)
            rows += batch.rows
        result.append(_join(table, waiting))
    return result


def taken(batch: Batch, rows: Sequence[int]) -> Batch:
    """The rows at these places."""
    return Batch(batch.table, {name: _taken(column, list(rows)) for name, column in batch.columns.items()})


def _taken(column: Column, rows: list[int]) -> Column:
    if isinstance(column, list):
        return [column[at] for at in rows]
    if isinstance(column, Fixed):
        return Fixed(column.units[rows], column.decimals)
    if isinstance(column, Nested):
        ends = np.cumsum(np.maximum(column.counts, 0))
        places = [place for at in rows for place in range(ends[at] - max(column.counts[at], 0), ends[at])]
        values: Any = _taken(column.values, places)
        return Nested(column.counts[rows], values)
    return column[rows]


def _table(batch: Batch) -> str:
    return batch.table


def _shape(batch: Batch) -> dict[str, Any]:
    """Equal for batches whose columns can be put end to end."""
    return {name: _kind(column) for name, column in batch.columns.items()}


def _kind(column: Column) -> Any:
    if isinstance(column, Fixed):
        return column.decimals
    if isinstance(column, Nested):
        return _kind(column.values)
    return list if isinstance(column, list) else column.dtype


def _join(table: str, batches: list[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    names = batches[0].columns
    return Batch(table, {name: _concatenated([batch.columns[name] for batch in batches]) for name in names})


def _concatenated(columns: list[Any]) -> Column:
    first = columns[0]
    if isinstance(first, list):
        return list(chain.from_iterable(columns))
    if isinstance(first, Fixed):
        return Fixed(np.concatenate([column.units for column in columns]), first.decimals)
    if isinstance(first, Nested):
        counts = np.concatenate([column.counts for column in columns])
        values: Any = _concatenated([column.values for column in columns])
        return Nested(counts, values)
    return np.concatenate(columns)
