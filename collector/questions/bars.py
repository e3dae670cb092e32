"""Bars of any interval: as they were stored, or else from the stored trades."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from collector.bars import trades_to_ohlcv
from collector.core.bars import interval_ms
from collector.questions.rows import Asked, GivenUp, Stopped
from storage_backends.interface import Backend, Market
from storage_backends.schema import TABLES, bare

_OF_TRADES = frozenset(
    {"agg_trade_id", "trade_id", "first_id", "last_id", "price", "quantity", "is_buyer_maker", "timestamp"}
)

MOST_TRADES = 2_000_000
"""Trades that one answer is made from, at most."""


def ohlcv(
    backend: Backend,
    market: Market,
    timeframe: str,
    limit: int,
    stopped: Stopped,
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> pa.Table:
    """The last `limit` bars of `timeframe` (`5s`, `1m`, …) before `end_ns`, or from `start_ns` on, oldest first.

    The stored bars of that interval where there are any; where not, bars of the stored trades, without the columns that
    tell of live collection. The bar that is not over yet is left out of neither.

    Raises:
        Asked: no such timeframe, or one that would need more than `MOST_TRADES` trades.
        GivenUp: `stopped`.
    """
    try:
        width_ms = interval_ms(timeframe)
    except ValueError as error:
        raise Asked(str(error)) from error
    stored = _stored(backend, market, width_ms, limit, stopped, start_ns, end_ns)
    if stored.num_rows:
        return stored
    trades = _trades(backend, market, width_ms, limit, stopped, start_ns, end_ns)
    bars = trades_to_ohlcv(trades, timeframe)
    return bars.slice(0, limit) if start_ns is not None else bars.slice(max(0, bars.num_rows - limit))


def _stored(
    backend: Backend,
    market: Market,
    width_ms: int,
    limit: int,
    stopped: Stopped,
    start_ns: int | None,
    end_ns: int | None,
) -> pa.Table:
    last_ns = backend.stats("bars", market).last_ns
    if last_ns is None:
        return bare(TABLES["bars"].schema).empty_table()
    from_ns, to_ns = _window(last_ns + 1, width_ms, limit, start_ns, end_ns)
    found = []
    count = 0
    for batch in backend.scan("bars", market, from_ns, to_ns):
        if stopped():
            raise GivenUp
        rows = pa.Table.from_batches([batch])
        found.append(rows.filter(pc.equal(rows["interval_ms"], width_ms)))
        count += found[-1].num_rows
        if start_ns is not None and count >= limit:
            break
    rows = pa.concat_tables([bare(TABLES["bars"].schema).empty_table(), *found])
    return rows.slice(0, limit) if start_ns is not None else rows.slice(max(0, rows.num_rows - limit))


def _trades(
    backend: Backend,
    market: Market,
    width_ms: int,
    limit: int,
    stopped: Stopped,
    start_ns: int | None,
    end_ns: int | None,
) -> pa.Table:
    table = "trades" if backend.stats("trades", market).rows else "raw_trades"
    schema = bare(TABLES[table].schema)
    last_ns = backend.stats(table, market).last_ns
    if last_ns is None:
        return schema.empty_table()
    from_ns, to_ns = _window(last_ns + 1, width_ms, limit, start_ns, end_ns)
    found = []
    count = 0
    # What bars are made of, and no more.
    names = [name for name in schema.names if name in _OF_TRADES]
    for batch in backend.scan(table, market, from_ns, to_ns, names):
        if stopped():
            raise GivenUp
        count += batch.num_rows
        if count > MOST_TRADES:
            raise Asked(f"that needs more than {MOST_TRADES:,} trades: ask for fewer bars, or store bars (--bars)")
        found.append(batch)
    return pa.Table.from_batches(found, schema=pa.schema([schema.field(name) for name in names]))


def _window(
    stored_end_ns: int, width_ms: int, limit: int, start_ns: int | None, end_ns: int | None
) -> tuple[int, int | None]:
    """From where to where rows of `limit` bars lie; a bar begins at a multiple of its width."""
    width_ns = width_ms * 1_000_000
    if start_ns is not None:
        from_ns = -(-start_ns // width_ns) * width_ns
        return from_ns, min(end_ns or from_ns + limit * width_ns, from_ns + limit * width_ns)
    last_ns = min(stored_end_ns, end_ns or stored_end_ns)
    return max(0, ((last_ns - 1) // width_ns - limit + 1) * width_ns), end_ns
