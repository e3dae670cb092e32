"""The questions that every client answers."""

from __future__ import annotations

import abc
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from collector.client.frames import Output, frame
from collector.times import parse_time

if TYPE_CHECKING:
    import pyarrow as pa

Instant: TypeAlias = str | int | float | datetime
"""ISO 8601 text (UTC unless it says otherwise), a Unix time in s, ms, µs or ns, or a datetime with a time zone."""


def instant_ns(value: Instant | None) -> int | None:
    """Nanoseconds since the Unix epoch.

    Raises:
        ValueError: no time, or a datetime without a time zone.
    """
    if value is None:
        return None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone: write datetime(…, tzinfo=timezone.utc)")
        return int(value.replace(microsecond=0).timestamp()) * 1_000_000_000 + value.microsecond * 1000
    return parse_time(repr(value) if isinstance(value, float) else str(value))


class Wanted(NamedTuple):
    """Which rows of a market: the last `limit` before `end_ns`, or with a start the first ones from there on."""

    exchange: str | None
    limit: int
    start_ns: int | None = None
    end_ns: int | None = None

    @classmethod
    def of(cls, exchange: str | None, limit: int, start: Instant | None, end: Instant | None) -> Wanted:
        """As callers give them.

        Raises:
            ValueError: see `instant_ns`; an end that is not after the start; a limit below 1.
        """
        start_ns, end_ns = instant_ns(start), instant_ns(end)
        if start_ns is not None and end_ns is not None and start_ns >= end_ns:
            raise ValueError(f"end_time {end} is not after start_time {start}")
        if limit < 1:
            raise ValueError(f"limit {limit}: must be 1 or more")
        return cls(exchange, limit, start_ns, end_ns)


class Client(abc.ABC):
    """Questions about one store.

    `symbol` is `BTCUSDT` or `BTC/USDT`; `exchange` is needed only where several are stored. Without `start_time` an
    answer has the last `limit` rows (before `end_time`), with it the first `limit` from there on; rows are in the order
    of their key, oldest first. `output` is `pandas` (default), `polars` or `arrow`.

    Raises (every question):
        ValueError: a question that cannot be answered as it was put: an unknown market, table or time.
        ConnectionError: the store cannot be reached now.
    """

    def get_trades(
        self,
        symbol: str,
        *,
        limit: int = 1000,
        start_time: Instant | None = None,
        end_time: Instant | None = None,
        exchange: str | None = None,
        output: Output = "pandas",
    ) -> Any:
        """Aggregate trades: table `trades`."""
        return self.get_table(
            "trades", symbol, limit=limit, start_time=start_time, end_time=end_time, exchange=exchange, output=output
        )

    def get_depth(
        self,
        symbol: str,
        *,
        limit: int = 300,
        start_time: Instant | None = None,
        end_time: Instant | None = None,
        exchange: str | None = None,
        output: Output = "pandas",
    ) -> Any:
        """Log-delta depth buckets: table `depth`."""
        return self.get_table(
            "depth", symbol, limit=limit, start_time=start_time, end_time=end_time, exchange=exchange, output=output
        )

    def get_features(
        self,
        symbol: str,
        *,
        limit: int = 300,
        start_time: Instant | None = None,
        end_time: Instant | None = None,
        exchange: str | None = None,
        output: Output = "pandas",
    ) -> Any:
        """Features by epoch: table `features`."""
        return self.get_table(
            "features", symbol, limit=limit, start_time=start_time, end_time=end_time, exchange=exchange, output=output
        )

    def get_table(
        self,
        table: str,
        symbol: str,
        *,
        limit: int = 1000,
        start_time: Instant | None = None,
        end_time: Instant | None = None,
        exchange: str | None = None,
        output: Output = "pandas",
    ) -> Any:
        """Rows of any table of SCHEMA.md."""
        return frame(self._rows(table, symbol, Wanted.of(exchange, limit, start_time, end_time)), output)

    def get_orderbook(
        self,
        symbol: str,
        *,
        tick_size: float | None = None,
        limit: int = 1,
        end_time: Instant | None = None,
        exchange: str | None = None,
        output: Output = "pandas",
    ) -> Any:
        """The last `limit` epochs (before `end_time`) of the book in price levels of `tick_size`.

        None is the finest that is stored.
        """
        return frame(self._orderbook(symbol, tick_size, Wanted.of(exchange, limit, None, end_time)), output)

    def get_ohlcv(
        self,
        symbol: str,
        timeframe: str = "1m",
        *,
        limit: int = 500,
        start_time: Instant | None = None,
        end_time: Instant | None = None,
        exchange: str | None = None,
        output: Output = "pandas",
    ) -> Any:
        """Bars: as stored, or else made of the stored trades."""
        return frame(self._ohlcv(symbol, timeframe, Wanted.of(exchange, limit, start_time, end_time)), output)

    def get_gaps(
        self,
        symbol: str | None = None,
        *,
        limit: int = 1000,
        start_time: Instant | None = None,
        end_time: Instant | None = None,
        healed: bool = True,
        exchange: str | None = None,
    ) -> list[dict[str, Any]]:
        """What is missing, and why: the last `limit` gaps that touch the span, one dict each (table `gaps`).

        A gap of one collector that the rows of another one fill counts as healed. `healed=False` leaves those out of
        which nothing is missing any more.
        """
        return self._gaps(symbol, Wanted.of(exchange, limit, start_time, end_time), healed=healed)

    @abc.abstractmethod
    def get_stats(self, symbol: str | None = None, *, exchange: str | None = None) -> list[dict[str, Any]]:
        """Rows, files, bytes and time span of each table: one dict a market and table."""

    @abc.abstractmethod
    def get_book(self, symbol: str, at: Instant, *, depth: int = 100, exchange: str | None = None) -> dict[str, Any]:
        """The whole book as it was known at an instant: `bids` and `asks` as [price, quantity], best first.

        Raises:
            LookupError: no book was known then.
        """

    @abc.abstractmethod
    def _rows(self, table: str, symbol: str, wanted: Wanted) -> pa.Table: ...

    @abc.abstractmethod
    def _gaps(self, symbol: str | None, wanted: Wanted, *, healed: bool) -> list[dict[str, Any]]: ...

    @abc.abstractmethod
    def _orderbook(self, symbol: str, tick_size: float | None, wanted: Wanted) -> pa.Table: ...

    @abc.abstractmethod
    def _ohlcv(self, symbol: str, timeframe: str, wanted: Wanted) -> pa.Table: ...
