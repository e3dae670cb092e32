"""Bars of stored trades: what table `bars` holds, from a table of trades.

import pandas
from collector.bars import trades_to_ohlcv

trades = pandas.read_parquet("data/trades", filters=[("symbol", "==", "BTCUSDT")])
bars = trades_to_ohlcv(trades, "1m")
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import numpy as np

from collector.core.bars import COLUMNS, BarSeries, ExactColumns, interval_ms, open_of
from collector.core.flow import Trades

Frame = TypeVar("Frame")
"""pandas.DataFrame or pyarrow.Table."""

_PANDAS = re.compile(r"(\d+)(min|D|H|W|S)")
_LEFT_OUT = frozenset({"late_trades", "complete", "recv_ns"})
"""Columns that tell of live collection; here every trade is in its bar, and gaps are for the caller to mask."""


def trades_to_ohlcv(trades: Frame, timeframe: str) -> Frame:
    """Bars of `timeframe` (`5s`, `1m`, `4h`, `1w`, …) by trade time, from the first trade's to the last one's.

    Args:
        trades: rows of table `trades` or `raw_trades`, as pandas.DataFrame or pyarrow.Table, in any order, each once:
            `timestamp` (ms), `price`, `quantity`, `is_buyer_maker`, and the ids.
        timeframe: pandas' `5min`, `1h` and `1D` are taken too.

    Returns:
        The same kind of table, a row a bar in order of time, with the columns of table `bars` but for `late_trades`,
        `complete` and `recv_ns`. Empty bars repeat the last close and are flagged. Sums are exact before they become
        float64, so they are equal to the exchange's.

    Raises:
        ValueError: no such timeframe.
        KeyError: a column is missing.
    """
    timeframe = _PANDAS.sub(lambda match: match[1] + match[2][0].lower(), timeframe)
    columns = _columns(trades)
    order = np.lexsort((columns.agg_id, columns.timestamp_ms))
    ordered = Trades(*(getattr(columns, name)[order] for name in Trades.__dataclass_fields__))
    interval = interval_ms(timeframe)
    rows: list[tuple[Any, ...]] = []
    if len(ordered):
        series = BarSeries(timeframe, int(ordered.timestamp_ms[0]))
        series.add(ExactColumns().of(ordered))
        rows = list(series.closed(open_of(int(ordered.timestamp_ms[-1]), interval) + interval, 0))
    kept = [(name, [row[at] for row in rows]) for at, name in enumerate(COLUMNS) if name not in _LEFT_OUT]
    if type(trades).__module__.startswith("pyarrow"):
        import pyarrow as pa

        from storage_backends.schema import TABLES

        schema = pa.schema([TABLES["bars"].schema.field(name).remove_metadata() for name, _ in kept])
        table: Frame = pa.table(dict(kept), schema=schema)
        return table
    return type(trades)(dict(kept))  # type: ignore[call-arg]


def _columns(trades: Any) -> Trades:
    def column(name: str) -> Any:
        values = trades[name]
        return values.to_numpy()

    names = set(trades.column_names if hasattr(trades, "column_names") else trades.columns)
    ids = column("agg_trade_id" if "agg_trade_id" in names else "trade_id").astype(np.int64)
    ranged = "first_id" in names and "last_id" in names
    return Trades(
        ids,  # the time of receipt plays no part
        column("timestamp").astype(np.int64),
        column("price").astype(np.float64),
        column("quantity").astype(np.float64),
        column("is_buyer_maker").astype(np.bool_),
        column("first_id").astype(np.int64) if ranged else ids,
        column("last_id").astype(np.int64) if ranged else ids,
        ids,
    )
