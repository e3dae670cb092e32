"""Batches as one Arrow table, exactly in the schema of `storage_backends.schema`. The only part that needs pyarrow."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from collector.core.batch import Batch, Column, Fixed, Nested
from storage_backends.schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray


_PIECE_ROWS = 4096
"""Rows that are converted together. Memory used for the first time costs more than the conversion, so one piece should
leave enough of it for the next."""


def to_arrow(batches: Iterable[Batch]) -> pa.Table:
    """The rows of `batches`, which are of one table, in their order. Takes them one by one, and keeps none.

    None in a list, a count of -1, NaN among nested floats and a nullable column that a batch lacks become null.

    Raises:
        ValueError: no batch, batches of several tables, an unknown table or column, a column that is missing or null
            where it must not be, or values that its type cannot hold.
    """
    pieces = [_piece(piece) for piece in _pieces(batches)]
    if not pieces:
        raise ValueError("one table that is known, please, not []")
    return pa.concat_tables(pieces)


def to_arrow_each(groups: Sequence[Sequence[Batch]]) -> list[pa.Table]:
    """`to_arrow` of each of `groups`, all of one table: a hundred groups of some rows cost little more than one does.

    Raises:
        ValueError: as `to_arrow`, for some group.
    """
    together = to_arrow(chain.from_iterable(groups))
    tables = []
    start = 0
    for batches in groups:
        rows = sum(batch.rows for batch in batches)
        tables.append(together.slice(start, rows))
        start += rows
    return tables


def _pieces(batches: Iterable[Batch]) -> Iterator[list[Batch]]:
    piece: list[Batch] = []
    rows = 0
    for batch in batches:
        piece.append(batch)
        rows += batch.rows
        if rows >= _PIECE_ROWS:
            yield piece
            piece, rows = [], 0
    if piece:
        yield piece


def _piece(batches: Sequence[Batch]) -> pa.Table:
    tables = {batch.table for batch in batches}
    if len(tables) != 1 or not tables <= TABLES.keys():
        raise ValueError(f"one table that is known, please, not {sorted(tables)}")
    (table,) = tables
    schema = TABLES[table].schema
    unknown = {name for batch in batches for name in batch.columns}.difference(schema.names)
    if unknown:
        raise ValueError(f"{table} has no column {sorted(unknown)}; it has {schema.names}")
    return pa.Table.from_arrays([_column(table, field, batches) for field in schema], schema=schema)


def _column(table: str, field: pa.Field, batches: Sequence[Batch]) -> pa.Array | pa.ChunkedArray:
    parts = [batch.columns.get(field.name) for batch in batches]
    try:
        kinds = {_kind(part) for part in parts}
        if len(kinds) == 1:
            # Thousands of small batches are the rule: they are joined before Arrow sees them, not after.
            array = _convert(parts, field, sum(batch.rows for batch in batches))
        else:
            array = pa.chunked_array(
                [_convert([part], field, batch.rows) for part, batch in zip(parts, batches, strict=True)], field.type
            )
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{table}.{field.name}: {error}") from error
    if array.null_count and not field.nullable:
        raise ValueError(f"{table}.{field.name} may not be null and is so in {array.null_count} rows")
    return array


def _kind(part: Column | None) -> str:
    if isinstance(part, Nested):
        return f"nested {_kind(part.values)}"
    return "none" if part is None else type(part).__name__


def _convert(parts: list[Any], field: pa.Field, rows: int) -> pa.Array:
    """An Arrow array of `rows` rows from columns of one kind."""
    first = parts[0]
    if first is None:
        return pa.nulls(rows, field.type)
    if isinstance(first, list):
        return pa.array(list(chain.from_iterable(parts)), field.type)
    if isinstance(first, Nested):
        return _lists(parts, field.type)
    return pa.array(_flat(parts), field.type)


def _flat(parts: list[Any]) -> NDArray[Any]:
    if not isinstance(parts[0], Fixed):
        return np.concatenate(parts)
    # Straight into place: memory that is touched for the first time costs more than the division.
    values = np.empty(sum(len(part) for part in parts), np.float64)
    start = 0
    for part in parts:
        part.floats(out=values[start : start + len(part)])
        start += len(part)
    return values


def _lists(parts: list[Nested], kind: pa.ListType) -> pa.ListArray:
    counts = np.concatenate([part.counts for part in parts])
    missing = counts < 0
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(np.where(missing, 0, counts), out=offsets[1:])
    if offsets[-1] > np.iinfo(np.int32).max:
        raise ValueError(f"{offsets[-1]:,} nested values do not fit one list column; plan smaller writes")
    # A Fixed is never NaN, and Arrow takes an array over without a copy where it need not look for one.
    may_be_nan = not isinstance(parts[0].values, Fixed)
    values = pa.array(_flat([part.values for part in parts]), kind.value_type, from_pandas=may_be_nan)
    if values.null_count and not kind.value_field.nullable:
        raise ValueError(f"{values.null_count} nested values are NaN where none may be null")
    # Not `ListArray.from_arrays`: that inverts its mask, for which it imports Arrow's functions, 9 MB.
    known = pa.py_buffer(np.packbits(~missing, bitorder="little")) if missing.any() else None
    ends = pa.py_buffer(offsets.astype(np.int32))
    return pa.ListArray.from_buffers(kind, len(counts), [known, ends], children=[values])
