"""Columns of stored rows as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from storage_backends.schema import TABLES

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Lists(NamedTuple):
    """A column of lists: row n holds `values[offsets[n]:offsets[n + 1]]`."""

    offsets: Ints
    values: NDArray[Any]

    @property
    def counts(self) -> Ints:
        """Entries of each row."""
        return np.diff(self.offsets)

    def row(self, number: int) -> NDArray[Any]:
        """The entries of one row."""
        return self.values[self.offsets[number] : self.offsets[number + 1]]

    def sums(self) -> Floats:
        """The sum of each row, made for itself: a number that is absurd spoils no other row's."""
        sums = np.zeros(len(self.offsets) - 1)
        filled = self.counts > 0
        if filled.any():
            sums[filled] = np.add.reduceat(self.values, self.offsets[:-1][filled])
        return sums

    def ends(self, *, last: bool) -> Floats:
        """The first or last entry of each row; NaN where it has none."""
        found = np.full(len(self.offsets) - 1, np.nan)
        filled = self.counts > 0
        found[filled] = self.values[self.offsets[1:][filled] - 1 if last else self.offsets[:-1][filled]]
        return found

    def rows_of(self, positions: NDArray[np.intp]) -> NDArray[np.intp]:
        """The rows that hold these entries."""
        return np.searchsorted(self.offsets, positions, "right") - 1


class Columns:
    """The columns of a batch, made arrays when asked for. Nulls of numbers are NaN."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.rows: int = batch.num_rows
        self._batch = batch

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._batch.column(name).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]

    def lists(self, name: str) -> Lists:
        """A column of lists, of which none is null."""
        column = self._batch.column(name)
        offsets = column.offsets.to_numpy().astype(np.int64)
        values = column.values.slice(offsets[0], offsets[-1] - offsets[0]).to_numpy(zero_copy_only=False)
        return Lists(offsets - offsets[0], values)


def times_ns(table: str, columns: Columns) -> Ints:
    """When each row of a table is from."""
    about = TABLES[table]
    times: Ints = columns[about.time] * about.ns_per_unit
    return times


def dicts(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Rows as dicts; lists as arrays, with NaN for nulls in them, None for a list that is null."""
    columns: dict[str, Any] = {}
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if not hasattr(field.type, "value_type"):
            columns[field.name] = column.to_pylist()
        else:
            missing = column.is_null().to_numpy(zero_copy_only=False)
            lists = Columns(batch).lists(field.name)
            columns[field.name] = [None if missing[at] else lists.row(at) for at in range(batch.num_rows)]
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))
