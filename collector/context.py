"""Fetches the klines that features of long bars start from: at start, and again after each gap in the trades.

A few seconds into a minute, so that the bars that were seen whole follow on the last kline. The klines are inputs of
the market: they stand in its capture, and a replay starts from the same ones.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from collector.core.history import length_of
from collector.core.inputs import History, Kline, Note
from collector.errors import ConfigurationError
from collector.sources.errors import RestError

if TYPE_CHECKING:
    from collector.clock import Clock
    from collector.live_market import LiveMarket
    from collector.sources.transport import RestResponse

log = logging.getLogger(__name__)

INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h")
_MINUTE_NS = 60_000_000_000
_INTO_MINUTE_NS = 5_000_000_000

Fetch = Callable[[str, str, int], Awaitable["RestResponse"]]
_Row = tuple[int, str, str, str, str, str, int, str, int, str, str, str]
_decode = msgspec.json.Decoder(list[_Row]).decode


def check_intervals(text: str) -> tuple[str, ...]:
    """The intervals that CONTEXT_TFS names.

    Raises:
        ConfigurationError: one that klines do not have.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in INTERVALS:
            raise ConfigurationError("--context-tfs", name, f"is no interval; choose from {', '.join(INTERVALS)}")
    return names


class Context:
    """Gives each market of a venue the history that its features lack."""

    def __init__(
        self,
        markets: Mapping[str, LiveMarket],
        fetch: Fetch,
        intervals: Sequence[str],
        limit: int,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._markets = markets
        self._fetch = fetch
        self._intervals = intervals
        self._limit = limit
        self._clock = clock
        self._sleep = sleep

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            now_ns = self._clock.now_ns()
            wait_ns = (_INTO_MINUTE_NS - now_ns) % _MINUTE_NS or _MINUTE_NS
            await self._sleep(wait_ns / 1e9)
            for symbol in list(self._markets):
                try:
                    await self._look(symbol)
                except Exception as error:  # noqa: BLE001  features begin later without it; nothing else may end
                    self._markets[symbol].apply(self._clock.now_ns(), Note("history_failed", repr(error)))

    async def _look(self, symbol: str) -> None:
        for interval in self._intervals:
            live = self._markets[symbol]
            if length_of(interval) not in live.market.wants_history:
                continue
            try:
                response = await self._fetch(symbol, interval, self._limit)
                history = parse_klines(response.body, interval, response.recv_ns)
            except (RestError, msgspec.MsgspecError, ValueError) as error:
                live.apply(self._clock.now_ns(), Note("history_failed", f"{interval}: {error}"))
                return
            live.apply(self._clock.now_ns(), history)


def parse_klines(body: bytes, interval: str, recv_ns: int) -> History:
    """The klines of a REST answer that were over when it came.

    Raises:
        msgspec.MsgspecError, ValueError: not a list of klines.
    """
    return History(interval, [_kline(row) for row in _decode(body) if row[6] * 1_000_000 < recv_ns])


def _kline(row: _Row) -> Kline:
    opened_ms, opening, high, low, close, volume, _, quote, trades, bought, bought_quote, _ = row
    prices = (float(opening), float(high), float(low), float(close))
    return Kline(opened_ms, *prices, float(volume), float(quote), float(bought), float(bought_quote), trades)
