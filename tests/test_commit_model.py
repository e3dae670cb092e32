"""Refusals, fetched trades and kills in any order: what reached us is committed, or in a gap that is."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from collector.audit.gaps import id_cover
from collector.clock import ManualClock
from collector.committer import Committer
from collector.core.batch import Batch
from collector.core.gaps import Gap
from collector.core.inputs import Resume, SessionStarted, Tick
from collector.coverage_log import CoverageLog
from collector.journal.errors import DiskFull, JournalFull
from collector.live_market import LiveMarket
from collector.recorder import Recorder
from collector.refusals import KEPT
from collector.sources.capture_writer import CaptureWriter
from collector.sources.feed import Stream
from storage_backends.interface import Market
from tests.core.exchange import START_NS, text
from tests.core.script import tables

MARKET = Market("binanceusdm", "AUSDT")
NAMES = {"trades": "ausdt@aggTrade", "depth": "ausdt@depth"}
QUIET = {"mark_price": "ausdt@markPrice"}


class FakeJournal:
    """Keeps commits; `trouble` is what it lacks room for."""

    collector_id = "00000000"

    def __init__(self) -> None:
        self.trouble = "none"
        self.batches: list[Batch] = []
        self.states: dict[Market, bytes] = {}

    def check_room(self, batches: list[tuple[Market, Batch]]) -> None:
        if self.trouble == "all":
            raise DiskFull("full")
        if self.trouble == "rows" and any(batch.table not in KEPT for _, batch in batches):
            raise JournalFull("full")

    def commit(self, batches: list[tuple[Market, Batch]], states: dict[Market, bytes]) -> None:
        self.check_room(batches)
        self.batches += [batch for _, batch in batches]
        self.states |= states


class Run:
    """One market whose exchange leaves messages out; `start` again is a kill and the next start."""

    names = NAMES
    number = 1
    """Of the connection."""

    def __init__(self, chance: random.Random, **settings: Any) -> None:
        self.chance = chance
        self.settings = settings
        self.clock = ManualClock(START_NS)
        self.journal = FakeJournal()
        self.trade, self.update = 1000, 5000
        self.received: list[tuple[str, int, int]] = []
        """Of each message its stream, its last id or its time, and when it came; those with absurd numbers left out."""
        self.start()

    def start(self) -> None:
        state = self.journal.states.get(MARKET)
        session = SessionStarted(
            exchange=MARKET.exchange,
            symbol=MARKET.symbol,
            futures=True,
            channels=tuple(self.names),
            resume=None if state is None else msgspec.json.decode(state, type=Resume),
            **self.settings,
        )
        self.live = LiveMarket(session, MARKET.symbol, self.names, self.clock.now_ns(), self.capture())
        markets = {MARKET.symbol: self.live}
        self.recorder = Recorder(markets, lambda *_: None)
        venue: Any = SimpleNamespace(exchange=MARKET.exchange, markets=markets, recorder=self.recorder)
        nobody: Any = SimpleNamespace(drained=lambda *_: None, committed=lambda *_: None)
        self.committer = Committer([venue], self.clock, nobody, CoverageLog([venue]), None, None)
        self.committer.journal = self.journal  # type: ignore[assignment]
        self.connect()

    def connect(self) -> None:
        """The exchange acknowledges what was subscribed to."""
        self.recorder.opened(self.clock.now_ns(), self.number, self.streams())

    def streams(self) -> list[Stream]:
        return [Stream(MARKET.symbol, name.partition("@")[2], "") for name in self.names.values()]

    def deliver(self, frame: str) -> None:
        """A frame leaves the socket."""
        self.recorder.frame(self.clock.now_ns(), self.number, frame)

    def capture(self) -> CaptureWriter | None:
        """What a session keeps its inputs in."""
        return None

    def receive(self, *, trade: bool) -> None:
        now_ms = self.clock.now_ns() // 1_000_000
        quantity = "absurd" if self.chance.random() < 0.05 else "1.5"
        if trade:
            self.trade += 1
            message = self._row(self.trade, quantity) | {"e": "aggTrade", "E": now_ms, "s": MARKET.symbol}
        else:
            link, self.update = self.update, self.update + self.chance.randint(1, 5)
            message = {"e": "depthUpdate", "E": now_ms, "T": now_ms, "s": MARKET.symbol, "pu": link}
            message |= {"U": link + 1, "u": self.update, "b": [["10.5", quantity]], "a": []}
        if quantity != "absurd":
            stream, ident = ("trades", self.trade) if trade else ("depth", self.update)
            self.received.append((stream, ident, self.clock.now_ns()))
        self.deliver(text(message))

    def receive_quiet(self) -> None:
        """A message of a stream that counts no ids and says little."""
        now_ms = self.clock.now_ns() // 1_000_000
        self.received.append(("mark_price", now_ms, self.clock.now_ns()))
        message = {
            "e": "markPriceUpdate",
            "E": now_ms,
            "s": MARKET.symbol,
            "p": "1",
            "i": "1",
            "P": "",
            "r": "",
            "T": 0,
        }
        self.deliver(text(message))

    def fetch(self) -> None:
        """Some of what gaps lack, by REST."""
        for unfilled in self.live.market.unfilled()[:2]:
            ids = [ident for first, last in unfilled.missing for ident in range(first, min(last, first + 9) + 1)]
            rows = [self._row(ident, "2") for ident in ids if self.chance.random() < 0.6]
            self.recorder.rest_trades(self.clock.now_ns(), MARKET.symbol, "trades", msgspec.json.encode(rows))

    async def second(self, *, over_budget: bool) -> None:
        self.clock.advance(0.2)
        self.live.apply(self.clock.now_ns(), Tick())
        await self.committer.commit(over_budget=over_budget)

    def _row(self, ident: int, quantity: str) -> dict[str, Any]:
        at_ms = self.clock.now_ns() // 1_000_000
        return {"a": ident, "p": "10.5", "q": quantity, "f": ident, "l": ident, "T": at_ms, "m": True}


def newest(rows: list[dict[str, Any]]) -> list[Gap]:
    """Of each gap its newest revision."""
    return list({row["gap_id"]: Gap(**row) for row in sorted(rows, key=lambda row: row["revision"])}.values())


@pytest.mark.parametrize("seed", range(60))
async def test_nothing_goes_unsaid(seed: int) -> None:
    chance = random.Random(seed)
    run = Run(chance)
    run.receive(trade=True)
    run.receive(trade=False)
    await run.second(over_budget=False)
    over_budget = False
    for _ in range(chance.randint(5, 60)):
        for _ in range(chance.randint(0, 6)):
            run.clock.advance(0.05)
            if chance.random() < 0.1:
                run.trade, run.update = run.trade + 1, run.update + 3
            else:
                run.receive(trade=chance.random() < 0.5)
        what = chance.random()
        if what < 0.15:
            run.journal.trouble = chance.choice(["none", "rows", "all"])
        elif what < 0.25:
            run.clock.advance(5 * chance.random())
            run.start()
        elif what < 0.3:
            run.fetch()
        elif what > 0.9:
            over_budget = not over_budget
        await run.second(over_budget=over_budget)
    run.journal.trouble = "none"
    for _ in range(2):
        run.clock.advance(1)
        run.receive(trade=True)
        run.receive(trade=False)
        await run.second(over_budget=False)
    await run.committer.finish()
    rows = tables(run.journal.batches)
    gaps = newest(rows.get("gaps", []))
    assert [gap for gap in gaps if gap.to_ns is None] == []
    said, trades = id_cover(gaps, "trades"), {row["agg_trade_id"] for row in rows["trades"]}
    assert [one for one in range(min(trades), run.trade + 1) if one not in trades and not said.holds(one, one)] == []
    said, last = id_cover(gaps, "depth"), None
    for link, update in sorted((row["prev_id"], row["last_id"]) for row in rows["diffs"]):
        assert last is None or link <= last or said.holds(last + 1, link)
        last = update if last is None else max(last, update)


class Beginning(Run):
    """A market that nobody has heard of, with a stream that says nothing for long; each session begins as live ones."""

    names = NAMES | QUIET

    def connect(self) -> None:
        """Not before the session is known."""

    async def begin(self) -> None:
        self.recorder.tick(self.clock.now_ns())
        await self.committer.commit()
        self.clock.advance(0.01)
        super().connect()


@pytest.mark.parametrize("seed", range(60))
async def test_nothing_goes_unsaid_from_the_very_first_message_on(seed: int) -> None:
    """Killed at any moment, also before anything of a stream was ever committed, with and without room."""
    chance = random.Random(seed)
    run = Beginning(chance)
    await run.begin()
    for _ in range(chance.randint(1, 6)):
        run.journal.trouble = chance.choice(["none", "rows", "all"])
        for _ in range(chance.randint(0, 3)):
            for _ in range(chance.randint(0, 3)):
                run.clock.advance(0.05)
                run.receive(trade=chance.random() < 0.5)
                if chance.random() < 0.1:
                    run.receive_quiet()
            if chance.random() < 0.7:
                await run.second(over_budget=False)
        run.clock.advance(5 * chance.random())
        run.start()
        if chance.random() < 0.9:
            await run.begin()
    await say_all(run)


async def say_all(run: Beginning) -> None:
    """One more session, in which every stream is heard; then all that was received must have been said."""
    run.journal.trouble = "none"
    run.start()
    await run.begin()
    for _ in range(2):
        run.clock.advance(1)
        run.receive(trade=True)
        run.receive(trade=False)
        run.receive_quiet()
        await run.second(over_budget=False)
    await run.committer.finish()
    rows = tables(run.journal.batches)
    gaps = newest(rows.get("gaps", []))
    assert [gap for gap in gaps if gap.to_ns is None] == []
    stored = {
        "trades": {row["agg_trade_id"] for row in rows["trades"]},
        "depth": {row["last_id"] for row in rows["diffs"]},
        "mark_price": {row["event_time"] for row in rows["mark_price"]},
    }
    for stream, ident, recv_ns in run.received:
        counted = id_cover(gaps, stream)
        times = [gap for gap in gaps if gap.stream == stream and gap.from_id is None and gap.to_ns is not None]
        assert (
            ident in stored[stream]
            or counted.holds(ident, ident)
            or any(gap.from_ns <= recv_ns <= (gap.to_ns or 0) for gap in times)
        ), (stream, ident, recv_ns)


class Joining(Beginning):
    """A market that joins at any moment: it is listened to as a feed does, once it has begun."""

    connected = False

    def start(self) -> None:
        self.connected = False
        super().start()

    async def begin(self) -> None:
        """The next second comes by itself, whoever joins."""
        await self.second(over_budget=False)

    async def second(self, *, over_budget: bool) -> None:
        await super().second(over_budget=over_budget)
        if self.live.begun.is_set() and not self.connected:
            self.connected = True
            Run.connect(self)

    def receive_any(self) -> None:
        """Something that the exchange sends; it reaches us where we listen."""
        if not self.connected:
            self.trade, self.update = self.trade + 1, self.update + 3
        elif self.chance.random() < 0.2:
            self.receive_quiet()
        else:
            self.receive(trade=self.chance.random() < 0.5)


@pytest.mark.parametrize("seed", range(60))
async def test_nothing_goes_unsaid_of_a_market_that_joins(seed: int) -> None:
    """Killed at any moment, the first second among them, with and without room."""
    chance = random.Random(seed)
    run = Joining(chance)
    for _ in range(chance.randint(1, 6)):
        run.journal.trouble = chance.choice(["none", "rows", "all"])
        over_budget = chance.random() < 0.2
        for _ in range(chance.randint(0, 3)):
            await run.second(over_budget=over_budget)
            for _ in range(chance.randint(0, 3)):
                run.clock.advance(0.05)
                run.receive_any()
        run.clock.advance(5 * chance.random())
        run.start()
    await say_all(run)


class Breaking(Beginning):
    """Its connection breaks, perhaps unnoticed for a while; what the exchange sends meanwhile does not come."""

    dead = False

    def deliver(self, frame: str) -> None:
        if not self.dead:
            super().deliver(frame)

    def breaks(self) -> None:
        self.dead = True

    def reconnects(self) -> None:
        streams = self.streams()
        self.recorder.closed(self.clock.now_ns(), self.number, streams, "disconnect")
        self.clock.advance(self.chance.choice([0.01, 2.0]))
        if self.chance.random() < 0.5:
            self.dead = True
            self.receive_quiet()
            self.receive(trade=True)
        self.clock.advance(0.01)
        self.number += 1
        self.recorder.opened(self.clock.now_ns(), self.number, streams)
        self.dead = False

    async def begin(self) -> None:
        self.number, self.dead = 1, False
        await super().begin()


@pytest.mark.parametrize("seed", range(60))
async def test_what_is_sent_while_a_connection_is_gone_lies_in_a_gap(seed: int) -> None:
    """Also of a stream that had said nothing before, over kills, and where the connection was dead for a while."""
    chance = random.Random(seed)
    run = Breaking(chance)
    await run.begin()
    for _ in range(chance.randint(1, 30)):
        run.clock.advance(0.05)
        what = chance.random()
        if what < 0.1:
            run.breaks()
        elif what < 0.25:
            run.reconnects()
        elif what < 0.3:
            run.clock.advance(chance.random())
            run.start()
            await run.begin()
        elif what < 0.35:
            run.receive_quiet()
        elif what < 0.6:
            run.receive(trade=chance.random() < 0.5)
        else:
            await run.second(over_budget=False)
    run.clock.advance(0.05)
    await say_all(run)
