"""Questions to a store, each bounded in rows and time, answered with Arrow tables.

Every question takes `stopped`, which is asked between batches: once it says so, the question is given up. Markets are
taken from the store's own list and never from text, so no text can become a path.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from collector.markets import WHEN_STORED, exchange_symbol, listed
from storage_backends.errors import PermanentBackendError
from storage_backends.interface import Backend, Market
from storage_backends.schema import TABLES, Table, bare, known

Stopped = Callable[[], bool]

_FIRST_REACH_NS: Final = 60 * 1_000_000_000
_REACH_GROWS: Final = 8


class Asked(ValueError):
    """A question that cannot be answered as it was put; the message says what to change."""


class GivenUp(Exception):
    """`stopped` said so."""


class Page(NamedTuple):
    """Rows in key order, and where the next page begins; None when there is none."""

    rows: pa.Table
    cursor: str | None


def find_market(backend: Backend, symbol: str, exchange: str | None = None, fresh: Iterable[Market] = ()) -> Market:
    """The market that `symbol` (BTCUSDT, BTC/USDT) and `exchange` name, of the store or of `fresh`.

    Raises:
        Asked: none, or several.
    """
    known_ones = sorted({*backend.markets(), *fresh})
    found = chosen(known_ones, symbol, exchange)
    if not found:
        have = f"there are {listed(known_ones)}" if known_ones else f"nothing is yet: {WHEN_STORED}"
        of = "" if exchange is None else f" of exchange={exchange}"
        raise Asked(f"{symbol}{of}: no such market is stored; {have}")
    if len(found) > 1:
        raise Asked(f"stored of several exchanges: add exchange={' or '.join(one.exchange for one in found)}")
    return found[0]


def chosen(markets: Iterable[Market], symbol: str | None, exchange: str | None) -> list[Market]:
    """Those of `markets` that are meant; None means any."""
    wanted = {symbol}
    if symbol is not None:
        # What is not of a form we know stays as it is: other exchanges have ids of their own.
        with contextlib.suppress(Exception):
            wanted.add(exchange_symbol(symbol))
    return [one for one in markets if (symbol is None or one.symbol in wanted) and exchange in (None, one.exchange)]


def rows_between(
    backend: Backend,
    table: str,
    market: Market,
    start_ns: int | None,
    end_ns: int | None,
    limit: int,
    stopped: Stopped,
    cursor: str | None = None,
) -> Page:
    """The first `limit` rows in [start_ns, end_ns), or behind `cursor`; in key order.

    Raises:
        Asked: a cursor that is none of ours.
        GivenUp: `stopped`.
    """
    definition = known(table)
    after: tuple[Any, ...] | None = None
    if cursor is not None:
        time, after = _read_cursor(definition, cursor)
        start_ns = max(start_ns or 0, time * definition.ns_per_unit - definition.key_spread_ns)
    parts: list[pa.Table] = []
    count = 0
    for batch in backend.scan(table, market, start_ns, end_ns):
        if stopped():
            raise GivenUp
        rows = pa.Table.from_batches([batch])
        if after is not None:
            rows = behind(definition, rows, after)
        parts.append(rows.slice(0, limit + 1 - count))
        count += parts[-1].num_rows
        if count > limit:
            break
    found = _joined(definition, parts)
    if found.num_rows <= limit:
        return Page(found, None)
    found = found.slice(0, limit)
    return Page(found, _cursor(definition, found))


def latest_rows(
    backend: Backend, table: str, market: Market, limit: int, stopped: Stopped, end_ns: int | None = None
) -> Page:
    """The last `limit` rows, before `end_ns` if it is given, in key order.

    Reads backwards in growing steps from the end of what is stored.

    Raises:
        GivenUp: `stopped`.
    """
    definition = known(table)
    stats = backend.stats(table, market)
    if stats.first_ns is None or stats.last_ns is None:
        return Page(_joined(definition, []), None)
    end_ns = min(stats.last_ns + 1, stats.last_ns + 1 if end_ns is None else end_ns)
    reach_ns = _FIRST_REACH_NS
    while True:
        start_ns = end_ns - reach_ns
        parts: list[pa.Table] = []
        kept = 0
        for batch in backend.scan(table, market, start_ns, end_ns):
            if stopped():
                raise GivenUp
            parts.append(pa.Table.from_batches([batch]))
            kept += batch.num_rows
            while parts and kept - parts[0].num_rows >= limit:
                kept -= parts.pop(0).num_rows
        if kept >= limit or start_ns <= stats.first_ns:
            found = _joined(definition, parts)
            return Page(found.slice(max(0, found.num_rows - limit)), None)
        reach_ns *= _REACH_GROWS


def with_fresh(table: str, stored: pa.Table, fresh: pa.Table, limit: int) -> pa.Table:
    """The last `limit` of stored rows and of `fresh` ones, which may be too young to be stored; in key order.

    Where `fresh` begins above what is stored, rows may be missing between them that no gap tells of: then `fresh` is
    the answer, though there are fewer of them.
    """
    definition = known(table)
    if not fresh.num_rows:
        return stored.slice(max(0, stored.num_rows - limit))
    if fresh.num_rows >= limit or not stored.num_rows:
        return fresh.slice(max(0, fresh.num_rows - limit))
    last = last_key(definition, stored)
    young = behind(definition, fresh, last)
    if young.num_rows == fresh.num_rows:
        return fresh
    both = pa.concat_tables([stored, young])
    return both.slice(max(0, both.num_rows - limit))


def newest_of_each(table: str, rows: pa.Table) -> pa.Table:
    """The newest row of `rows`; of bars the newest of each interval."""
    if table != "bars":
        return rows.slice(max(0, rows.num_rows - 1))
    last = {interval: at for at, interval in enumerate(rows.column("interval_ms").to_pylist())}
    return rows.take(pa.array([last[interval] for interval in sorted(last)], pa.int64()))


def _joined(definition: Table, parts: list[pa.Table]) -> pa.Table:
    return pa.concat_tables([bare(definition.schema).empty_table(), *parts])


def last_key(definition: Table, rows: pa.Table) -> tuple[Any, ...]:
    """The key of the last row."""
    (last,) = rows.slice(rows.num_rows - 1).select(list(definition.key)).to_pylist()
    return tuple(last[name] for name in definition.key)


def behind(definition: Table, rows: pa.Table, after: tuple[Any, ...]) -> pa.Table:
    """The rows whose key is above `after`."""
    above = pa.scalar(False)
    for name, value in reversed(list(zip(definition.key, after, strict=True))):
        column = rows.column(name)
        typed = pa.scalar(value, column.type)
        above = pc.or_(pc.greater(column, typed), pc.and_(pc.equal(column, typed), above))
    return rows.filter(above)


def _cursor(definition: Table, rows: pa.Table) -> str:
    (last,) = rows.slice(rows.num_rows - 1).select([definition.time, *definition.key]).to_pylist()
    place = [last[definition.time], *(last[name] for name in definition.key)]
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def _read_cursor(definition: Table, text: str) -> tuple[int, tuple[Any, ...]]:
    try:
        padded = text + "=" * (-len(text) % 4)
        time, *key = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        fields = [definition.schema.field(name) for name in definition.key]
        typed = tuple(pa.scalar(value, field.type).as_py() for value, field in zip(key, fields, strict=True))
        if isinstance(time, bool) or not isinstance(time, int) or not 0 <= time < 2**62 // definition.ns_per_unit:
            raise ValueError(text)
    except (ValueError, TypeError, binascii.Error, pa.ArrowException, RecursionError, OverflowError) as error:
        raise Asked("cursor is not one that an answer gave") from error
    return time, typed


def table_of(name: str) -> str:
    """The table of that name.

    Raises:
        Asked: there is none.
    """
    try:
        return known(name).name
    except PermanentBackendError as error:
        raise Asked(f"no such table; there are {', '.join(sorted(TABLES))}") from error
