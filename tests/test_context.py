"""Klines that features start from: asked for when they help, a few seconds into a minute, and inputs like any other."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import pytest

from collector.clock import ManualClock
from collector.context import Context, check_intervals, parse_klines
from collector.core.decode import decode
from collector.core.inputs import Opened, SessionStarted, Tick
from collector.errors import ConfigurationError
from collector.live_market import LiveMarket
from collector.sources.errors import RestError
from tests.core.exchange import SECOND, START_NS, Exchange, text

MINUTE_MS = 60_000


def body(now_ns: int, length_ms: int, count: int) -> bytes:
    """As Binance answers: the last one is not over."""
    last = now_ns // 1_000_000 // length_ms * length_ms
    return json.dumps(
        [
            [at, "10.0", "12.0", "9.0", "11.0", "5.0", at + length_ms - 1, "50.0", 3, "2.0", "20.0", "0"]
            for at in range(last - (count - 1) * length_ms, last + 1, length_ms)
        ]
    ).encode()


class Answer:
    def __init__(self, body: bytes, recv_ns: int) -> None:
        self.body, self.recv_ns = body, recv_ns


class World:
    """One market, a clock that moves when somebody sleeps, and a REST that answers or not."""

    def __init__(self, features: str = "ema_20,bias_1m") -> None:
        self.clock = ManualClock(START_NS)
        self.asked: list[tuple[str, str, int]] = []
        self.down = False
        session = SessionStarted(exchange="binanceusdm", symbol="BTCUSDT", futures=True, features=features)
        streams = {"depth": "btcusdt@depth", "trades": "btcusdt@aggTrade", "book_ticker": "btcusdt@bookTicker"}
        self.live = LiveMarket(session, "BTC/USDT", streams, START_NS, None)
        self.live.apply(START_NS, Opened(1, ["depth", "trades", "book_ticker"]))
        self.exchange = Exchange(futures=True)
        self.rows: list[dict[str, Any]] = []
        self.context = Context({"BTCUSDT": self.live}, self.fetch, ("1m", "1h"), 300, self.clock, self.sleep)
        self._next_ns = START_NS

    async def fetch(self, symbol: str, interval: str, limit: int) -> Any:
        self.asked.append((symbol, interval, limit))
        if self.down:
            raise RestError("klines: HTTP 503", 503)
        now_ns = self.clock.now_ns()
        return Answer(body(now_ns, MINUTE_MS if interval == "1m" else 60 * MINUTE_MS, limit), now_ns)

    async def sleep(self, seconds: float) -> None:
        """A trade a second, until the time is over."""
        end_ns = self.clock.now_ns() + round(seconds * 1e9)
        while self._next_ns < end_ns:
            message = self.exchange.trade(self._next_ns)
            self.live.message(self._next_ns, decode(text(message)), text(message))
            self._next_ns += SECOND
        self.clock.advance((end_ns - self.clock.now_ns()) / 1e9)
        self.live.apply(self.clock.now_ns(), Tick())
        if self.clock.now_ns() > START_NS + 400 * SECOND:
            raise TimeoutError

    async def run(self) -> None:
        with pytest.raises(TimeoutError):
            await self.context.run()
        for batch in self.live.drain():
            if batch.table == "features":
                self.rows += [
                    dict(zip(batch.columns, row, strict=True)) for row in zip(*batch.columns.values(), strict=True)
                ]

    def first_known(self, name: str) -> int:
        return next(row["epoch"] for row in self.rows if row[name] is not None)


async def test_features_are_warm_after_the_first_whole_minute() -> None:
    world = World()
    await world.run()
    assert world.asked == [("BTCUSDT", "1m", 300)]  # no feature here has bars of an hour
    whole = (START_NS // SECOND // 60 + 2) * 60
    assert world.first_known("ema_20") == world.first_known("bias_1m") == whole


async def test_after_a_gap_it_is_asked_for_again() -> None:
    world = World()
    plain, minutes = world.sleep, count()

    async def cut(seconds: float) -> None:
        await plain(seconds)
        if next(minutes) == 2:
            world.exchange.trade(world.clock.now_ns())  # which never reaches us

    world.context._sleep = cut
    await world.run()
    assert len(world.asked) == 2


async def test_nothing_is_asked_for_where_nothing_wants_it() -> None:
    world = World("basic")
    await world.run()
    assert world.asked == []


async def test_a_refusal_is_an_event_and_is_tried_again() -> None:
    world = World()
    world.down = True
    await world.run()
    assert len(world.asked) > 3
    assert world.live.market.counts["history_failed"] == len(world.asked)


def test_a_kline_that_is_not_over_is_left_out() -> None:
    now_ns = START_NS
    history = parse_klines(body(now_ns, MINUTE_MS, 5), "1m", now_ns)
    assert len(history.klines) == 4
    one = history.klines[-1]
    assert one.open_time_ms + MINUTE_MS <= now_ns // 1_000_000
    assert (one.open, one.high, one.low, one.close, one.volume) == (10, 12, 9, 11, 5)
    assert (one.quote_volume, one.buy_volume, one.buy_quote_volume, one.trades) == (50, 2, 20, 3)


def test_intervals() -> None:
    assert check_intervals("1m, 1h") == ("1m", "1h")
    assert check_intervals("") == ()
    with pytest.raises(ConfigurationError, match="7m"):
        check_intervals("1m,7m")
