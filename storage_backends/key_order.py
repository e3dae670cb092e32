"""Rows in key order, one per key.

What a collector writes is in order already, or of few rows: neither needs Arrow's functions to compute with, which are
9 MB for a process that has no other use for them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage_backends.schema import Table

_FEW_ROWS = 2048


def in_key_order(table: Table, rows: pa.Table) -> pa.Table:
    """Sorts by key and keeps the preferred row of each key; between equals the one that came first."""
    if len(rows) < 2 or _ascends(table, rows):
        return rows
    order = [*((name, "ascending") for name in table.key), *table.prefer]
    floating = any(pa.types.is_floating(rows.schema.field(name).type) for name, _ in order)
    if len(rows) <= _FEW_ROWS and not floating:
        return _few_in_key_order(table, rows, order)
    return _many_in_key_order(table, rows, order)


def _ascends(table: Table, rows: pa.Table) -> bool:
    """Whether each key is larger than the one before."""
    equal = np.ones(len(rows) - 1, dtype=bool)
    for name in table.key:
        values = rows.column(name).to_numpy()
        if not (values[1:] >= values[:-1])[equal].all():
            return False
        equal &= values[1:] == values[:-1]
    return not equal.any()


def _few_in_key_order(table: Table, rows: pa.Table, order: Sequence[tuple[str, str]]) -> pa.Table:
    """Without Arrow's functions. Nulls go last, as Arrow has them."""
    places = list(range(len(rows)))
    for name, direction in reversed(order):
        values: list[Any] = rows.column(name).to_pylist()
        descending = direction == "descending"
        ranks = [((value is None) is not descending, value) for value in values]
        places.sort(key=ranks.__getitem__, reverse=descending)
    keys = list(zip(*(rows.column(name).to_pylist() for name in table.key), strict=True))
    kept = [place for at, place in enumerate(places) if not at or keys[place] != keys[places[at - 1]]]
    begins = [0, *(at for at in range(1, len(kept)) if kept[at] != kept[at - 1] + 1), len(kept)]
    runs = [rows.slice(kept[begin], end - begin) for begin, end in pairwise(begins)]
    return pa.concat_tables(runs).combine_chunks()


def _many_in_key_order(table: Table, rows: pa.Table, order: Sequence[tuple[str, str]]) -> pa.Table:
    import pyarrow.compute as pc

    # Sorting is stable, which is what makes "came first" hold.
    rows = rows.take(pc.sort_indices(rows, sort_keys=list(order)))
    differs = None
    for name in table.key:
        values = rows.column(name).combine_chunks()
        changed = pc.not_equal(values[1:], values[:-1])
        differs = changed if differs is None else pc.or_(differs, changed)
    return rows.filter(pa.concat_arrays([pa.array([True]), differs]))
