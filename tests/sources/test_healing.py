"""The fetching of what gaps lack: pages, limits, failures, and who goes first."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import msgspec
import pytest

from collector.clock import ManualClock
from collector.core.decode import decode
from collector.core.inputs import HealingEnded, Opened, RestTrades
from collector.core.market import Market
from collector.sources.budget import MINUTE_NS, WeightBudget
from collector.sources.errors import RestError
from collector.sources.healing import SHARE, Healer, Lacking
from collector.sources.trade_pages import REACH_S, ends_of
from collector.sources.transport import RestResponse
from tests.core.exchange import SECOND
from tests.core.script import session
from tests.core.test_healing import frame, row

START_NS = 1_800_000_000 // 60 * MINUTE_NS


class Exchange:
    """A market whose stream lost some trades, its REST, and the sink between; time passes when somebody sleeps."""

    def __init__(self, *, exchange: str = "binanceusdm", limit: int = 2400) -> None:
        self.clock = ManualClock(START_NS)
        self.market = Market(START_NS, session(futures=True))
        self.market.apply(START_NS, Opened(1, ["trades"]))
        self.held: dict[int, dict[str, Any]] = {}
        self.oldest_id = 0
        self.asked: list[dict[str, Any]] = []
        self.asked_ns: list[int] = []
        self.failures: list[Exception] = []
        self.events: list[tuple[str, str]] = []
        self.ended: list[str] = []
        self.budget = WeightBudget(limit, self.clock, sleep=self.sleep)
        self.healer = Healer(exchange, self, self.budget, self, self.clock, sleep=self.sleep, rng=random.Random(1))

    async def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    def trades(self, *idents: int) -> None:
        for ident in idents:
            self.clock.advance(0.01)
            self.market.message(self.clock.now_ns(), decode(frame(ident)), frame(ident))

    def holds(self, first: int, last: int) -> None:
        self.held |= {ident: row(ident) for ident in range(first, last + 1)}

    async def get_now(self, path: str, params: dict[str, Any]) -> RestResponse:
        self.asked.append({"path": path, **params})
        self.asked_ns.append(self.clock.now_ns())
        self.clock.advance(0.05)
        if self.failures:
            raise self.failures.pop(0)
        if "startTime" in params:
            first = self.oldest_id
        else:
            first = params["fromId"]
            if first < self.oldest_id:
                raise RestError("aggTrades: HTTP 400", 400, -4166)
        rows = [self.held[ident] for ident in sorted(self.held) if ident >= first][: params["limit"]]
        return RestResponse(200, {}, json.dumps(rows).encode(), self.clock.now_ns(), self.clock.now_ns())

    def lacking(self) -> list[Lacking]:
        return [Lacking("BTCUSDT", one) for one in self.market.unfilled()]

    def rest_trades(self, recv_ns: int, symbol: str, channel: str, text: bytes) -> None:
        self.market.apply(recv_ns, RestTrades(channel, msgspec.Raw(text)))

    def healing_ended(self, now_ns: int, symbol: str, channel: str, gap_id: str, reason: str) -> None:
        self.ended.append(reason)
        self.market.apply(now_ns, HealingEnded(channel, gap_id, reason))

    def event(self, now_ns: int, symbol: str | None, kind: str, detail: str) -> None:
        self.events.append((kind, detail))

    async def heal(self, within_s: float = 600) -> None:
        """Until nothing is lacking, or the time is over."""
        until_ns = self.clock.now_ns() + round(within_s * SECOND)
        task = asyncio.create_task(self.healer.run())
        while self.lacking() and self.clock.now_ns() < until_ns:  # noqa: ASYNC110  the market tells no one
            await asyncio.sleep(0)
        task.cancel()

    @property
    def pages(self) -> list[tuple[int, int]]:
        return [(one["fromId"], one["limit"]) for one in self.asked if "fromId" in one]


async def test_asks_for_exactly_what_is_lacking_a_page_at_a_time() -> None:
    exchange = Exchange()
    exchange.trades(1, 3, 2504, 2506)
    exchange.trades(2505)  # late: not lacking any more
    exchange.holds(1, 2506)
    await exchange.heal()
    assert exchange.pages == [(2, 1), (4, 1000), (1004, 1000), (2004, 500)]
    assert all("startTime" not in one and "endTime" not in one for one in exchange.asked)
    assert exchange.asked_ns[0] >= START_NS + 2 * SECOND, "late messages and REST get time"
    assert exchange.events == []


async def test_waits_for_room_and_leaves_the_rest_of_the_weight_to_others() -> None:
    exchange = Exchange(limit=200)  # 140 of it may be used, 70 by healing: three requests a minute
    exchange.trades(1, 9002)
    exchange.holds(1, 9002)
    await exchange.heal()
    minutes = [asked_ns // MINUTE_NS for asked_ns in exchange.asked_ns]
    assert [minutes.count(one) for one in sorted(set(minutes))] == [3, 3, 3]
    assert exchange.budget.allowance * SHARE >= 3 * 20


async def test_failures_that_pass_are_told_and_tried_again() -> None:
    exchange = Exchange()
    exchange.trades(1, 3)
    exchange.holds(1, 3)
    exchange.failures = [RestError("no answer"), RestError("HTTP 503", 503), RestError("HTTP 429", 429, -1003)]
    await exchange.heal()
    assert [kind for kind, _ in exchange.events] == ["heal_failed"] * 3
    assert "HTTP 503; again in" in exchange.events[1][1]
    assert exchange.pages == [(2, 1)] * 4
    assert exchange.ended == []


async def test_what_the_exchange_refuses_is_given_up_with_its_reason() -> None:
    exchange = Exchange()
    exchange.trades(1, 3)
    exchange.failures = [RestError("aggTrades: HTTP 400: Invalid symbol.", 400, -1121)]
    await exchange.heal()
    assert exchange.ended == ["aggTrades: HTTP 400: Invalid symbol."]
    assert len(exchange.asked) == 1


async def test_ids_that_the_exchange_does_not_have_are_given_up() -> None:
    exchange = Exchange()
    exchange.trades(1, 10)
    exchange.holds(1, 4)
    exchange.holds(7, 10)
    await exchange.heal()
    assert exchange.pages == [(2, 8)], "the answer went beyond the gap: there is nothing more in it"
    assert exchange.ended == ["the exchange does not give the rest of it"]
    exchange.trades(11)
    assert len(exchange.asked) == 1


async def test_what_lies_beyond_the_reach_is_left_out_and_the_rest_healed() -> None:
    exchange = Exchange()
    exchange.trades(1, 100)
    exchange.holds(1, 100)
    exchange.oldest_id = 60
    await exchange.heal()
    by_time = [one for one in exchange.asked if "startTime" in one]
    assert [set(one) for one in by_time] == [{"path", "symbol", "startTime", "limit"}]
    age_s = exchange.asked_ns[1] / 1e9 - by_time[0]["startTime"] / 1000
    assert REACH_S - 300 < age_s < REACH_S
    assert exchange.pages == [(2, 98), (60, 40)]
    assert len(exchange.ended) == 1
    assert "48 hours" in exchange.ended[0]
    assert "archive" in exchange.ended[0]


async def test_the_oldest_gap_comes_first() -> None:
    exchange = Exchange()
    exchange.trades(1, 3, 5, 7)
    exchange.holds(1, 7)
    await exchange.heal()
    assert exchange.pages == [(2, 1), (4, 1), (6, 1)]


async def test_single_trades_of_futures_are_only_the_newest() -> None:
    exchange = Exchange()
    exchange.market.apply(exchange.clock.now_ns(), Opened(1, ["raw_trades"]))
    for ident in (1, 4):
        text = json.dumps({"e": "trade", "E": 1, "T": 1, "s": "BTCUSDT", "t": ident, "p": "1", "q": "2", "m": True})
        exchange.market.message(exchange.clock.now_ns(), decode(text), text)

    async def newest(path: str, params: dict[str, Any]) -> RestResponse:
        exchange.asked.append({"path": path, **params})
        body = b'[{"id":3,"price":"1","qty":"2","time":1,"isBuyerMaker":true}]'
        return RestResponse(200, {}, body, 0, exchange.clock.now_ns())

    exchange.get_now = newest  # type: ignore[method-assign]
    await exchange.heal()
    assert exchange.asked == [{"path": "trades", "symbol": "BTCUSDT", "limit": 1000}]
    assert exchange.ended == ["without a key the exchange gives only the newest thousand"]


@pytest.mark.parametrize("body", [b"{}", b'[{"p":"1"}]', b"[1]", b"["])
def test_a_page_that_is_none_says_so(body: bytes) -> None:
    with pytest.raises(ValueError, match="trades"):
        ends_of(body)
