"""Rows of a table as columns of numbers, lists spread out: what a training file has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from storage_backends.schema import known
from training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from storage_backends.schema import Table

TABLE_OF: Final = {"depth": "depth", "book": "books", "features": "features"}
"""The table behind each data set."""

SETTINGS: Final = {
    "depth": ("step_pct", "num_steps", "ref"),
    "books": ("depth", "grid_ms"),
    "features": ("feature_set",),
}
"""Columns of each table that say how its rows were made: other columns of rows that differ in them cannot be mixed."""

_NOT_INPUTS: Final = {
    *("step_pct", "num_steps", "last_update_id", "event_time", "recv_ns", "book_age_ms"),
    *("depth", "grid_ms", "feature_set", "feature_set_version", "set_version", "version"),
}
"""Columns about the row rather than the market."""


class Flat(NamedTuple):
    """Some rows: times (ns), validity, and columns by name, all of equal length."""

    time_ns: NDArray[np.int64]
    valid: NDArray[np.bool_]
    columns: dict[str, NDArray[np.float64]]


def table_of(dataset: str) -> Table:
    """The table of a data set.

    Raises:
        TrainingError: no such data set.
    """
    if dataset not in TABLE_OF:
        raise TrainingError(f"--dataset {dataset}: choose from {', '.join(TABLE_OF)}")
    return known(TABLE_OF[dataset])


def inputs_of(table: Table) -> list[str]:
    """The columns of a table that can be inputs: numbers, and lists of them."""
    import pyarrow as pa

    def numeric(kind: pa.DataType) -> bool:
        return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))

    return [
        field.name
        for field in table.schema
        if field.name not in _NOT_INPUTS
        and field.name != table.time
        and (numeric(field.type) or (pa.types.is_list(field.type) and numeric(field.type.value_type)))
    ]


def flat_names(table: Table, sizes: Mapping[str, int]) -> list[str]:
    """The names that `flatten` gives, in order."""
    return [f"{name}_{at}" if name in sizes else name for name in inputs_of(table) for at in range(sizes.get(name, 1))]


def flatten(table: Table, batch: pa.RecordBatch, sizes: Mapping[str, int]) -> Flat:
    """Rows with each list spread over `sizes[name]` columns; NaN for null and behind a shorter list."""
    import pyarrow as pa

    columns: dict[str, NDArray[np.float64]] = {}
    for name in inputs_of(table):
        column = batch.column(name)
        if name in sizes:
            spread = _spread(column, sizes[name])
            columns |= {f"{name}_{at}": spread[:, at] for at in range(sizes[name])}
        else:
            columns[name] = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    valid = np.ones(batch.num_rows, np.bool_)
    if "valid" in table.schema.names:
        valid = batch.column("valid").fill_null(False).to_numpy(zero_copy_only=False)
    time_ns = batch.column(table.time).to_numpy() * table.ns_per_unit
    return Flat(time_ns, valid, columns)


def _spread(column: pa.ListArray, size: int) -> NDArray[np.float64]:
    import pyarrow as pa

    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    values = column.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]) if len(lengths) else lengths
    places = starts[:, None] + np.arange(size)
    there = np.arange(size) < lengths[:, None]
    spread = np.full((len(column), size), np.nan)
    spread[there] = values[places[there]]
    return spread


def joined(base: NDArray[np.int64], other: Flat, period_ns: int) -> dict[str, NDArray[np.float64]]:
    """For each time of `base`, the columns of the newest row of `other` that was known by then.

    A row of time T holds what was received before T, so it counts from T on, and for one period: what is older, or not
    valid, is NaN.
    """
    newest = np.searchsorted(other.time_ns, base, "right") - 1
    at = np.maximum(newest, 0)
    good = newest >= 0
    if len(other.time_ns):
        good &= (base - other.time_ns[at] < period_ns) & other.valid[at]
        return {name: np.where(good, column[at], np.nan) for name, column in other.columns.items()}
    return {name: np.full(len(base), np.nan) for name in other.columns}
