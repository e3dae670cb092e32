"""The collector as a library: objects with one method, for scripts and notebooks.

    from collector import TradesCollector

    trades = TradesCollector(["BTC/USDT"])
    frame = trades.update()  # what is new since the last call, as a pandas.DataFrame

What `update` gives is stored first, in the same store that `collector run` writes to and every command reads.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from collector.clock import SystemClock
from collector.errors import ConfigurationError
from collector.markets import exchange_symbol, is_futures
from storage_backends.interface import Market

if TYPE_CHECKING:
    import pyarrow as pa

    from collector.backfill.outcome import Outcome
    from collector.backfill.rest import Rest
    from collector.clock import Clock
    from storage_backends.interface import Backend

Frame = Literal["pandas", "polars", "arrow"]
Result = TypeVar("Result")

_HOUR = dt.timedelta(hours=1)


class TradesCollector:
    """Aggregate trades of some markets of Binance, by REST, each once.

    Args:
        symbols: BTC/USDT, BTC/USDT:USDT or BTCUSDT.
        exchange: `binance` (spot) or `binanceusdm` (USDⓈ-M futures).
        data_dir: the store; a collector may be running in it.
        since: where to begin in a store that has no trades of a market yet: a time, or how long ago.
        frame: what `update` gives: a `pandas` or `polars` DataFrame, or a pyarrow Table (`arrow`).
        url_root: an exchange elsewhere, such as the simulator's `http://127.0.0.1:8765`.
        headroom: the part of the exchange's weight limit that is left to others.

    Attributes:
        outcomes: what became of each market in the last `update`; `out_of_reach` says what cannot be had any more.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        *,
        exchange: str = "binance",
        data_dir: str | Path = "data",
        since: dt.datetime | dt.timedelta = _HOUR,
        frame: Frame = "pandas",
        url_root: str | None = None,
        headroom: float = 0.5,
    ) -> None:
        """Connects nowhere.

        Raises:
            ConfigurationError: a symbol, exchange or time that cannot be right.
        """
        self.outcomes: list[Outcome] = []
        self._markets = _markets(exchange, symbols)
        self._clock = SystemClock()
        self._data_dir = Path(data_dir)
        self._store = _open(self._data_dir)
        self._frame = frame
        self._url_root = url_root
        self._headroom = headroom
        self._since_ns = _since_ns(since, self._clock)

    def update(self) -> Any:
        """Fetches and stores the trades that are new since the last call, in this process or an earlier one.

        Returns:
            A frame with the columns of table `trades` behind `symbol`, in order of id within each market; empty when
            nothing is new.

        Raises:
            CollectorError: the exchange cannot be reached, or the store failed.
        """
        self.outcomes = []
        return _framed([self._update(market) for market in self._markets], self._frame)

    def _update(self, market: Market) -> pa.Table:
        import pyarrow as pa
        import pyarrow.compute as pc

        from collector.backfill.run import BackfillSettings, backfill

        known = self._store.stats("trades", market)
        settings = BackfillSettings(
            kind="trades",
            markets=[market],
            start_ns=self._since_ns if known.last_ns is None else known.last_ns,
            end_ns=self._clock.now_ns(),
            data_dir=self._data_dir,
            url_root=self._url_root,
            headroom=self._headroom,
        )
        self.outcomes += _run(backfill(settings, self._store, self._clock))
        last_id = known.last_key if isinstance(known.last_key, int) else -1
        rows = [
            batch.filter(pc.greater(batch.column("agg_trade_id"), last_id))
            for batch in self._store.scan("trades", market, settings.start_ns)
        ]
        found = pa.Table.from_batches(rows, _schema("trades"))
        return found.add_column(0, "symbol", pa.array([market.symbol] * len(found), pa.string()))


class OrderBookCollector:
    """Order books of some markets of Binance, by REST, in price levels of several widths.

    Args:
        symbols: BTC/USDT, BTC/USDT:USDT or BTCUSDT.
        tick_sizes: widths of a level in quote currency; none lets each market's price decide (10, 50, 100, 500 and
            1000 for BTC at 60,000).
        num_levels: levels a side.
        exchange: `binance` (spot) or `binanceusdm` (USDⓈ-M futures).
        data_dir: the store. Whole books go to table `polled_books`, levels to `multitick`.
        limit: raw levels to ask for a side; None is the most that the exchange gives, 5000 on spot, 1000 on futures.
        ask_rounding: `ceil`, or `floor` as older collectors did.
        frame, url_root, headroom: as of `TradesCollector`.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        tick_sizes: Sequence[float | str] = (),
        num_levels: int = 15,
        *,
        exchange: str = "binance",
        data_dir: str | Path = "data",
        limit: int | None = None,
        ask_rounding: Literal["ceil", "floor"] = "ceil",
        frame: Frame = "pandas",
        url_root: str | None = None,
        headroom: float = 0.5,
    ) -> None:
        """Connects nowhere.

        Raises:
            ConfigurationError: a symbol, exchange, tick size, number of levels or limit that cannot be right.
        """
        from collector.core.multitick import MultiTick
        from collector.sources.budget import weight_of

        self._markets = _markets(exchange, symbols)
        self._limit = limit or (5000 if exchange == "binance" else 1000)
        if num_levels < 1:
            raise ConfigurationError("num_levels", num_levels, "give at least one")
        try:
            weight_of(exchange, "depth", self._limit)
            # One a market: without tick sizes its own price decides.
            ticks = [f"{one:f}" if isinstance(one, float) else str(one) for one in tick_sizes]
            self._levels = {market: MultiTick(ticks, num_levels, ask_rounding) for market in self._markets}
        except (ValueError, ArithmeticError) as error:
            raise ConfigurationError("tick_sizes or limit", "cannot be used", str(error)) from error
        self._clock = SystemClock()
        self._store = _open(Path(data_dir))
        self._frame = frame
        self._url_root = url_root
        self._headroom = headroom

    def update(self) -> Any:
        """Fetches the book of every market now, stores it, and gives its levels.

        Returns:
            A frame with one row for each market and tick size, in the wide columns that `core.multitick.wide` names.
            What is not known of the book is NaN.

        Raises:
            CollectorError: the exchange cannot be reached or refuses, or the store failed.
        """
        import pyarrow as pa

        wide_rows = _run(self._poll())
        return _framed([pa.Table.from_pylist(wide_rows)], self._frame)

    async def _poll(self) -> list[dict[str, Any]]:
        from collector.backfill.rest import open_rest

        exchange = self._markets[0].exchange
        found = []
        async with open_rest(exchange, self._clock, url_root=self._url_root, headroom=self._headroom) as rest:
            for market in self._markets:
                found += await self._one(rest, market)
        return found

    async def _one(self, rest: Rest, market: Market) -> list[dict[str, Any]]:
        from collector.backfill.books import polled_book, tick_rows
        from collector.backfill.sink import store
        from collector.core.multitick import wide

        requested_ns = self._clock.now_ns()
        response = await rest.get("depth", symbol=market.symbol, limit=self._limit)
        book, polled = polled_book(response, requested_ns, self._limit)
        store(self._store, market, "polled_books", polled, "poll")
        rows = tick_rows(self._levels[market], book, response.recv_ns)
        store(self._store, market, "multitick", rows, "poll")
        return [dict(wide(row, market.symbol)) for row in rows.to_pylist()]


def _markets(exchange: str, symbols: Sequence[str]) -> list[Market]:
    is_futures(exchange)  # raises for one that is not served here
    if not symbols:
        raise ConfigurationError("symbols", "[]", "name at least one market, such as BTC/USDT")
    return [Market(exchange, exchange_symbol(one, "symbols")) for one in dict.fromkeys(symbols)]


def _since_ns(since: dt.datetime | dt.timedelta, clock: Clock) -> int:
    if isinstance(since, dt.timedelta):
        start_ns = clock.now_ns() - round(since.total_seconds() * 1e9)
    else:
        moment = since if since.tzinfo is not None else since.replace(tzinfo=dt.UTC)
        start_ns = round(moment.timestamp()) * 10**9
    if not 0 <= start_ns < clock.now_ns():
        raise ConfigurationError("since", since, "must lie in the past")
    return start_ns


def _open(data_dir: Path) -> Backend:
    from storage_backends.open import open_backend

    return open_backend("local", data_dir)


def _schema(table: str) -> pa.Schema:
    from storage_backends.schema import TABLES, bare

    return bare(TABLES[table].schema)


def _framed(tables: Sequence[pa.Table], output: Frame) -> Any:
    import pyarrow as pa

    from collector.client.frames import frame

    return frame(pa.concat_tables(tables), output)


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    """Runs to the end, also where an event loop is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
