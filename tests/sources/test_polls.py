"""What REST is polled for: at its pace, within the budget, and refused at start where that cannot be."""

from __future__ import annotations

import json

import pytest

from collector.clock import ManualClock, SystemClock
from collector.simulator.faults import parse_fault
from collector.simulator.server import Simulator, SimulatorConfig
from collector.sources.budget import WeightBudget
from collector.sources.errors import FeedError, RestError
from collector.sources.polls import Poll, Poller, check_budget
from collector.sources.transport import RestResponse


@pytest.fixture
async def simulator():
    async with Simulator(SimulatorConfig(symbols=2, depth=50), SystemClock()) as running:
        yield running


async def test_books_and_open_interest_come_as_received(harness, simulator):
    sink = harness.sink
    polls = (Poll("book", 1.0, 20), Poll("open_interest", 1.0))
    await harness.run("binanceusdm", ("BTC/USDT", "ETH/USDT"), ("depth",), url_root=simulator.url, polls=polls)
    await harness.until(lambda: len(sink.named("polled")) >= 6)
    by_kind: dict[tuple[str, str], bytes] = {
        (what, symbol): text for _, symbol, what, _, _, text in sink.named("polled")
    }
    assert set(by_kind) == {(what, s) for what in ("book", "open_interest") for s in ("BTCUSDT", "ETHUSDT")}
    assert len(json.loads(by_kind["book", "BTCUSDT"])["bids"]) == 20
    assert json.loads(by_kind["open_interest", "ETHUSDT"])["symbol"] == "ETHUSDT"
    assert all(limit == 20 for _, _, what, _, limit, _ in sink.named("polled") if what == "book")
    assert all(recv_ns > sent_ns for recv_ns, _, _, sent_ns, _, _ in sink.named("polled"))


async def test_a_poll_that_fails_is_an_event_and_the_next_one_comes(harness, simulator):
    sink = harness.sink
    polls = (Poll("open_interest", 1.0),)
    await harness.run("binanceusdm", ("BTC/USDT",), ("depth",), url_root=simulator.url, polls=polls)
    simulator.apply(parse_fault("rest:path=openInterest,status=500,n=1"))
    await harness.until(lambda: [call for call in sink.named("event") if call[2] == "poll_failed"])
    await harness.until(lambda: sink.named("polled"))


async def test_spot_has_no_open_interest(harness, simulator):
    await harness.run("binance", ("BTC/USDT",), ("depth",), url_root=simulator.url, polls=(Poll("open_interest", 1.0),))
    await harness.until(lambda: sum(map(len, harness.sink.frames.values())) > 10)
    assert simulator.hub.counters["rest binance openInterest"] == 0


class Enough(Exception):
    """Ends a poller that would go on for ever."""


class Line:
    """A poller on a clock that is moved by its own waiting."""

    def __init__(self, interval_s: float, symbols: list[str], fail: bool = False) -> None:
        self.clock = ManualClock(10**18)
        self.asked: list[tuple[float, str]] = []
        self.events: list[str] = []
        self.fail = fail
        budget = WeightBudget(10**6, self.clock, sleep=self.sleep)
        self.poller = Poller(
            Poll("open_interest", interval_s),
            symbols,
            self.fetch,
            budget,
            1,
            self,
            self.clock,
            self.sleep,  # type: ignore[arg-type]
        )

    async def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)
        if len(self.asked) >= 6:
            raise Enough

    async def fetch(self, path: str, params: dict[str, object]) -> RestResponse:
        assert path == "openInterest"
        self.asked.append(((self.clock.now_ns() - 10**18) / 1e9, str(params["symbol"])))
        if self.fail:
            raise RestError("no answer")
        return RestResponse(200, {}, b"{}", 0, self.clock.now_ns())

    def polled(self, *call: object) -> None:
        pass

    def event(self, now_ns: int, symbol: str | None, kind: str, detail: str) -> None:
        self.events.append(kind)


async def test_markets_take_turns_evenly_over_the_interval():
    line = Line(10.0, ["A", "B"])
    with pytest.raises(Enough):
        await line.poller.run()
    assert [at for at, _ in line.asked] == pytest.approx([5, 10, 15, 20, 25, 30])
    assert [symbol for _, symbol in line.asked] == ["B", "A", "B", "A", "B", "A"]


async def test_failures_do_not_change_the_pace():
    line = Line(10.0, ["A"], fail=True)
    with pytest.raises(Enough):
        await line.poller.run()
    assert [at for at, _ in line.asked] == pytest.approx([10, 20, 30, 40, 50, 60])
    assert line.events == ["poll_failed"] * 6


def test_polls_that_fit_are_let_through():
    check_budget("binanceusdm", [Poll("book", 60, 1000), Poll("open_interest", 10)], 10, 1680, 2400, 20.0)


@pytest.mark.parametrize(
    ("exchange", "poll", "markets", "told"),
    [
        (
            "binanceusdm",
            Poll("book", 1, 1000),
            10,
            (
                "--order-book-interval 1: 10 markets x weight 20 x 60 a minute = 12000, but of the 2400 that "
                "binanceusdm grants a minute 1580 are left for it (1680 are used at most, snapshots need 100). "
                "Mend: at least 7.6 seconds, fewer levels or fewer markets."
            ),
        ),
        ("binance", Poll("book", 1, 5000), 1, "1 markets x weight 250 x 60 a minute = 15000"),
        ("binanceusdm", Poll("open_interest", 1), 100, "--open-interest-interval 1: 100 markets x weight 1 x 60"),
        ("binanceusdm", Poll("book", 60, 999), 1, "--order-book-limit 999: binanceusdm serves 5, 10, 20"),
        ("binance", Poll("book", 60, 5001), 1, "--order-book-limit 5001: binance does not serve 5001 levels"),
    ],
)
def test_polls_beyond_the_budget_are_refused_with_the_arithmetic(
    exchange: str, poll: Poll, markets: int, told: str
) -> None:
    limit = 2400 if exchange == "binanceusdm" else 6000
    with pytest.raises(FeedError) as caught:
        check_budget(exchange, [poll], markets, limit * 7 // 10, limit, 100.0)
    assert told in str(caught.value)


def test_two_polls_share_the_budget() -> None:
    book = Poll("book", 1, 1000)
    check_budget("binanceusdm", [book, Poll("open_interest", 1)], 1, 1680, 2400, 0.0)
    with pytest.raises(FeedError, match="480 are left"):
        check_budget("binanceusdm", [book, Poll("open_interest", 0.1)], 1, 1680, 2400, 0.0)
