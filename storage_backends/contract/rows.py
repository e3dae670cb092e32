"""Made-up rows of every table, for tests of backends and of what reads them.

Row number `at` is `at` seconds after 2024-07-18 23:59:50 UTC, so ten rows lie before a midnight and the rest after it.
Keys and times grow with `at`. Every nullable column is null in some rows and set in others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from storage_backends.schema import TABLES, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

START_S = 1_721_347_190
MIDNIGHT = 10
"""The `at` of the first row of 2024-07-19."""

_FIRST_ID = 4_984_028_367_545
_BUCKETS: tuple[list[float | None], ...] = ([1.5, None, 0.0], [], [None])


def time_ns(at: float) -> int:
    """The instant of row `at`, ns since the Unix epoch."""
    return START_S * 1_000_000_000 + round(at * 1_000_000_000)


def row(name: str, at: int, **changes: Any) -> dict[str, Any]:
    """One row of table `name`; `changes` replace columns."""
    table = TABLES[name]
    values = {field.name: _value(field, at) for field in table.schema}
    values |= dict.fromkeys(table.key, _FIRST_ID + at)
    values |= _KEYS.get(name, {})
    if name == "gaps":
        values["gap_id"] = f"depth-{at:06d}"
    values[table.time] = time_ns(at) // table.ns_per_unit
    return values | changes


_KEYS: dict[str, dict[str, Any]] = {
    "gaps": {"revision": 1},
    "clock": {"sequence": 0},
    "events": {"sequence": 0},
    "partial_depth": {"levels": 20},
    "polled_books": {"limit": 1000},
    "bars": {"interval_ms": 60_000},
    "klines": {"interval": "1m"},
    "liquidations": {"side": "SELL"},
    "multitick": {"tick": 10.0},
    "forecasts": {"model": "0f1e2d3c4b5a6978", "target": "mid_price"},
}


def seen_by(collector: int, table: str, at: int) -> dict[str, Any]:
    """Row `at` as that collector, by number, saw it: another receive time where that decides between rows."""
    if any(column == "recv_ns" for column, _ in TABLES[table].prefer):
        return row(table, at, recv_ns=time_ns(at) + collector * 700_000_000)
    if table == "gaps":
        return row(table, at, revision=collector + 1)
    return row(table, at)


def rows(name: str, ats: Iterable[int], **changes: Any) -> list[dict[str, Any]]:
    """`row` for each of `ats`."""
    return [row(name, at, **changes) for at in ats]


def arrow(name: str, made: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as a backend takes them."""
    return pa.Table.from_pylist(list(made), schema=TABLES[name].schema)


def key_of(table: Table, made: Mapping[str, Any]) -> tuple[Any, ...]:
    """The key of a row."""
    return tuple(made[column] for column in table.key)


def preferred(table: Table, candidates: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The row that `table.prefer` chooses among rows of one key; the first of equals."""
    best = list(candidates)
    for column, direction in table.prefer:
        said = [made[column] for made in best if made[column] is not None]
        if said:
            wanted = min(said) if direction == "ascending" else max(said)
            best = [made for made in best if made[column] == wanted]
    return best[0]


def _value(field: pa.Field, at: int) -> Any:
    if field.nullable and at % 3 == 0:
        return None
    kind = field.type
    if pa.types.is_list(kind):
        return list(_BUCKETS[at % 3]) if kind.value_field.nullable else [63_943.9 + at + 0.1 * i for i in range(at % 4)]
    if pa.types.is_boolean(kind):
        return at % 2 == 0
    if pa.types.is_int32(kind):
        return at % 7 + 1
    if pa.types.is_int64(kind):
        return time_ns(at) if field.name.endswith("_ns") else _FIRST_ID + at
    if pa.types.is_float32(kind):
        return 0.5 + at
    if pa.types.is_float64(kind):
        return 63_943.9 + 0.1 * at
    return f"{field.name} №{at}".encode() if pa.types.is_binary(kind) else f"{field.name} №{at % 5}"
