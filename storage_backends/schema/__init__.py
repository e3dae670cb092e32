"""The one definition of every table: columns, key, time and version.

Exchange and symbol are no columns; a backend keeps them beside the rows (Parquet: as folders). Prices and quantities
are float64 that print back to the exchange's own text. `*_ns` are nanoseconds since the Unix epoch (UTC) by the
collector's clock; `event_time`, `transact_time` and `timestamp` are milliseconds by the exchange's.

Columns are only ever added, nullable and at the end, and then the table's version goes up: a file of an older version
reads as if the new columns were null.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from storage_backends.errors import PermanentBackendError
from storage_backends.schema.book import DIFFS, PARTIAL_DEPTH, POLLED_BOOKS, SNAPSHOTS
from storage_backends.schema.derived import BOOKS, DEPTH, FORECASTS, MULTITICK
from storage_backends.schema.features import FEATURES
from storage_backends.schema.quotes import BOOK_TICKER, FUNDING, LIQUIDATIONS, MARK_PRICE, OPEN_INTEREST
from storage_backends.schema.records import CLOCK, EVENTS, GAPS, QUALITY
from storage_backends.schema.table import NS_PER_UNIT, Table
from storage_backends.schema.trades import BARS, KLINES, RAW_TRADES, TRADES

__all__ = ["NS_PER_UNIT", "SCHEMA_VERSION", "TABLES", "Table", "bare", "in_schema", "known"]

TABLES: Final[dict[str, Table]] = {
    table.name: table
    for table in (
        DEPTH,
        DIFFS,
        SNAPSHOTS,
        TRADES,
        RAW_TRADES,
        BOOK_TICKER,
        MARK_PRICE,
        LIQUIDATIONS,
        KLINES,
        PARTIAL_DEPTH,
        POLLED_BOOKS,
        OPEN_INTEREST,
        FUNDING,
        BARS,
        BOOKS,
        MULTITICK,
        FEATURES,
        FORECASTS,
        GAPS,
        CLOCK,
        EVENTS,
        QUALITY,
    )
}

SCHEMA_VERSION: Final = max(table.version for table in TABLES.values())
"""The highest version among the tables."""


def known(name: str) -> Table:
    """The table of that name.

    Raises:
        PermanentBackendError: there is none; names the choices.
    """
    table = TABLES.get(name)
    if table is None:
        raise PermanentBackendError(f"table {name!r} is not known; there are {', '.join(sorted(TABLES))}")
    return table


def bare(schema: pa.Schema) -> pa.Schema:
    """The schema without its documentation."""
    return pa.schema([field.remove_metadata() for field in schema]).remove_metadata()


def in_schema(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows in `schema`, as `Table.cast` gives them; but that imports Arrow's functions, 9 MB, to do nothing."""
    return pa.Table.from_arrays(rows.columns, schema=schema) if rows.schema.equals(schema) else rows.cast(schema)
