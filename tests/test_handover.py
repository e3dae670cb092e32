"""Two connections for the same streams: every id once and in order, whatever their lag, their cuts and their deaths."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collector.clock import ManualClock
from collector.core.batch import Batch
from collector.core.decode import AggTrade
from collector.core.inputs import Resume, SessionStarted
from collector.handover import Handover
from collector.live_market import LiveMarket
from collector.recorder import Recorder
from collector.replay import Replay
from collector.sources.capture_writer import CaptureWriter
from collector.sources.feed import Stream

SYMBOL, START_NS = "BTCUSDT", 1_770_000_000 * 10**9
SPAN_MS, NEVER = 10_000, 30_000
CHANNELS = {"depth": "depth", "aggTrade": "trades", "bookTicker": "book_ticker", "markPrice": "mark_price"}
TABLES = {"depth": "diffs", "aggTrade": "trades", "bookTicker": "book_ticker", "markPrice": "mark_price"}
IDS = {"diffs": "last_id", "trades": "agg_trade_id", "book_ticker": "update_id", "mark_price": "event_time"}
STEPS = {"aggTrade": 1, "bookTicker": 7, "markPrice": 70}
compact = json.JSONEncoder(separators=(",", ":")).encode  # as exchanges write
UNCOUNTED = ("bookTicker", "markPrice")
"""Channels whose ids, or times, have holes that mean nothing."""


Lost: TypeAlias = tuple[Collection[int], Collection[int]]
NOTHING: Lost = ((), ())


class Line(NamedTuple):
    """A connection of the exchange: from when to when, how late, and at which phase it cuts depth messages."""

    number: int
    begin_ms: int
    end_ms: int
    lag_ms: int
    phase_ms: int


def depth_frames(line: Line, futures: bool) -> list[tuple[int, int, str]]:
    """(arrival, connection, text): one update each 10 ms, with ids of its millisecond, in messages of 100 ms."""
    frames = []
    last = None
    for end in range(line.phase_ms + 100, SPAN_MS, 100):
        ids = [update for update in range(end - 100, end) if update % 10 == 0 and update > 0]
        begin, last = last, ids[-1]
        if line.begin_ms <= end <= line.end_ms - line.lag_ms:
            link = begin if begin is not None else ids[0] - 1
            body = {"e": "depthUpdate", "E": end, "s": SYMBOL, "U": ids[0] if futures else link + 1, "u": ids[-1]}
            body |= {"T": end, "pu": link} if futures else {}
            frames.append((end + line.lag_ms, line.number, compact({**body, "b": [["1.5", "2"]], "a": []})))
    return frames


def tick_frames(line: Line, channel: str) -> list[tuple[int, int, str]]:
    """The same of a stream with one id a message; ids of bookTicker have holes."""
    frames = []
    for number, at in enumerate(range(50, SPAN_MS, 70), start=1):
        if line.begin_ms <= at <= line.end_ms - line.lag_ms:
            if channel == "aggTrade":
                body: dict[str, Any] = {"e": channel, "E": at, "s": SYMBOL, "a": number, "p": "1.5", "q": "2"}
                body |= {"f": number, "l": number, "T": at, "m": True}
            elif channel == "markPrice":  # told apart by its time, as all streams are that count no ids
                body = {"e": "markPriceUpdate", "E": at, "s": SYMBOL, "p": "1.5", "i": "1.5", "P": "", "r": "", "T": 0}
            else:
                body = {"u": number * 7, "s": SYMBOL, "b": "1.5", "B": "2", "a": "1.6", "A": "3"}
            frames.append((at + line.lag_ms, line.number, compact(body)))
    return frames


def frames_of(line: Line, channel: str, futures: bool) -> list[tuple[int, int, str]]:
    return depth_frames(line, futures) if channel == "depth" else tick_frames(line, channel)


def lines_of(lines: Collection[Line], channel: str, lost: Lost) -> list[tuple[int, int, str]]:
    """(arrival, connection, text) of what several lines bring, less what each leaves out."""
    return [
        frame
        for line in lines
        for place, frame in enumerate(frames_of(line, channel, False))
        if place not in lost[line.number - 1]
    ]


class Run:
    """One market, one stream, an old connection and a new one."""

    def __init__(
        self, channel: str, *, futures: bool, capture: CaptureWriter | None = None, resume: Resume | None = None
    ) -> None:
        self.channel = channel
        self.futures = futures
        exchange = "binanceusdm" if futures else "binance"
        session = SessionStarted(
            exchange=exchange, symbol=SYMBOL, futures=futures, channels=(CHANNELS[channel],), resume=resume
        )
        names = {table: f"btcusdt@{one}" for one, table in CHANNELS.items()}
        self.live = LiveMarket(session, SYMBOL, names, START_NS, capture)
        self.recorder = Recorder({SYMBOL: self.live}, lambda symbol, reason: None)
        self.batches: list[Batch] = []
        self.arrived: list[int] = []
        self.stream = (Stream(SYMBOL, channel, f"btcusdt@{channel}"),)

    def at(self, ms: int) -> int:
        return START_NS + ms * 1_000_000

    def play(self, old: Line, new: Line, *, look_ms: int = 1000, lost: Lost = NOTHING) -> None:
        """Everything in the order of receipt; the old connection is closed once the new one has taken over.

        `lost` are the places, among all that each line brings, of what it leaves out.
        """
        events: list[tuple[int, int, str]] = [(0, 0, "open old"), (new.begin_ms, 0, "open new")]
        events += [(line.end_ms, 3, f"end {line.number}") for line in (old, new) if line.end_ms < SPAN_MS]
        events += [(ms, 2, "look") for ms in range(new.begin_ms + look_ms, SPAN_MS, look_ms)]
        for line in (old, new):
            frames = enumerate(frames_of(line, self.channel, self.futures))
            left_out = lost[line.number - 1]
            events += [(at, 1, f"{number} {text}") for place, (at, number, text) in frames if place not in left_out]
        gone: set[int] = set()
        for ms, _, what in sorted(events, key=lambda event: event[:2]):
            now_ns, word = self.at(ms), what.split()[0]
            if what == "open old":
                self.recorder.opened(now_ns, 1, self.stream)
            elif what == "open new":
                self.recorder.opened(now_ns, 2, self.stream, None if 1 in gone else 1)
            elif what == "look":
                self.batches += self.live.drain()
                if {1, 2}.isdisjoint(gone) and self.recorder.handed_over(2):
                    gone.add(1)
                    self.recorder.closed(now_ns, 1, self.stream, "rotated")
            elif word == "end":
                number = int(what.split()[1])
                if number not in gone:
                    gone.add(number)
                    self.recorder.closed(now_ns, number, self.stream, "disconnect")
            elif int(word) not in gone:
                text = what.partition(" ")[2]
                body = json.loads(text)
                self.arrived.append(body.get("u") or body.get("E"))
                self.recorder.frame(now_ns, int(word), text)
        self.recorder.stop(self.at(SPAN_MS), "stopped")
        self.batches += self.live.drain()

    def column(self, table: str, name: str) -> list[Any]:
        return [value for batch in self.batches if batch.table == table for value in list(batch.columns[name])]

    @property
    def ids(self) -> list[int]:
        table = TABLES[self.channel]
        return [int(one) for one in self.column(table, IDS[table])]

    def check(self, gaps: bool) -> None:
        """Ids rise, so that none is there twice, and nothing is missing but what a gap tells of."""
        ids = self.ids
        assert ids == sorted(set(ids))
        stated = list(zip(self.column("gaps", "from_id"), self.column("gaps", "to_id"), strict=True))
        if not gaps:
            assert stated == []
        if self.channel == "depth":
            first = self.column("diffs", "prev_id" if self.futures else "first_id")
            links = [one if self.futures else one - 1 for one in first]
        else:
            links = [one - STEPS[self.channel] for one in ids]
        for previous, link in zip(ids, links[1:], strict=False):
            if link > previous:
                told = [low is None or (low <= previous + 1 and (high or link) >= link) for low, high in stated]
                assert any(told), (previous, link)


channels = st.sampled_from(sorted(CHANNELS))
lags_ms, phases_ms = st.integers(0, 1500), st.integers(0, 9).map(lambda tenth: tenth * 10)


@settings(max_examples=40, deadline=None)
@given(channels, st.booleans(), lags_ms, lags_ms, phases_ms, phases_ms, st.integers(3000, 6000))
def test_a_replacement_leaves_no_hole_and_nothing_twice(
    channel: str, futures: bool, old_lag: int, new_lag: int, old_phase: int, new_phase: int, begin: int
) -> None:
    run = Run(channel, futures=futures)
    run.play(Line(1, 0, NEVER, old_lag, old_phase), Line(2, begin, NEVER, new_lag, new_phase))
    run.check(gaps=False)
    if channel == "depth":
        connections = [int(one) for one in run.column("diffs", "connection")]
        assert connections == sorted(connections)
        assert set(connections) == {1, 2}
    kinds = run.column("events", "kind")
    assert kinds.count("opened") == 2
    assert kinds.count("closed") == kinds.count("rotated") == 1
    assert len(kinds) <= 7


@settings(max_examples=40, deadline=None)
@example(channel="markPrice", futures=False, old_lag=0, new_lag=42, phase=0, begin=3000, later=101, dying=1)
@given(
    channel=channels,
    futures=st.booleans(),
    old_lag=lags_ms,
    new_lag=lags_ms,
    phase=phases_ms,
    begin=st.integers(3000, 6000),
    later=st.integers(0, 3000),
    dying=st.sampled_from([1, 2]),
)
def test_whichever_dies_meanwhile(
    channel: str, futures: bool, old_lag: int, new_lag: int, phase: int, begin: int, later: int, dying: int
) -> None:
    ends = {1: NEVER, 2: NEVER, dying: begin + later}
    old, new = Line(1, 0, ends[1], old_lag, 0), Line(2, begin, ends[2], new_lag, phase)
    run = Run(channel, futures=futures)
    run.play(old, new, look_ms=5000)  # so that both live when one dies
    # The new connection says what happened from `begin` on: without a hole if the old one said all until then.
    # Where ids have holes that mean nothing, both must have said the same to prove it.
    seamless = dying == 2 or later > old_lag + 100 + (new_lag if channel in UNCOUNTED else 0)
    run.check(gaps=not seamless)
    assert max(run.column(TABLES[channel], "recv_ns")) > run.at(SPAN_MS - 300), "it goes on"


places = st.sets(st.integers(0, SPAN_MS // 70), max_size=100)


@settings(max_examples=40, deadline=None)
@example(channel="bookTicker", old_lag=0, new_lag=40, begin=4000, lost=({60, 61, 62}, set()))
@example(channel="markPrice", old_lag=40, new_lag=0, begin=4000, lost=({65}, {1, 4}))
@given(
    channel=st.sampled_from(UNCOUNTED),
    old_lag=lags_ms,
    new_lag=lags_ms,
    begin=st.integers(3000, 6000),
    lost=st.tuples(places, places),
)
def test_what_only_one_of_the_two_brings_is_stored_where_no_id_would_miss_it(
    channel: str, old_lag: int, new_lag: int, begin: int, lost: Lost
) -> None:
    run = Run(channel, futures=False)
    run.play(Line(1, 0, NEVER, old_lag, 0), Line(2, begin, NEVER, new_lag, 0), lost=lost)
    assert len(run.ids) == len(set(run.ids))
    assert set(run.arrived) <= set(run.ids)
    assert "quarantine" not in run.column("events", "kind")


@settings(max_examples=60, deadline=None)
@example(channel="markPrice", old_lag=0, new_lag=40, begin=4000, killed=4630, lost=({60, 61, 62}, set()))
@example(channel="bookTicker", old_lag=300, new_lag=0, begin=4000, killed=5010, lost=({65}, set()))
@given(
    channel=st.sampled_from(UNCOUNTED),
    old_lag=lags_ms,
    new_lag=lags_ms,
    begin=st.integers(3000, 6000),
    killed=st.integers(3000, 9000),
    lost=st.tuples(places, places),
)
def test_of_a_process_that_is_killed_every_frame_is_stored_or_in_the_gap_of_the_restart(
    channel: str, old_lag: int, new_lag: int, begin: int, killed: int, lost: Lost
) -> None:
    """Also those of the connection that did not speak, which no market has been given yet."""
    run = Run(channel, futures=False)
    lines = (Line(1, 0, NEVER, old_lag, 0), Line(2, begin, NEVER, new_lag, 0))
    frames = [(at, 1, number, text) for at, number, text in lines_of(lines, channel, lost)]
    commits = [(ms, 2, 0, "") for ms in range(1000, SPAN_MS, 1000)]
    run.recorder.opened(run.at(0), 1, run.stream)
    arrived: list[tuple[int, int]] = []
    remembered = run.live.remembered
    for ms, what, number, text in sorted(frames + commits + [(begin, 0, 0, "")]):
        if ms > killed:
            break
        if what == 0:
            run.recorder.opened(run.at(ms), 2, run.stream, 1)
        elif what == 1:
            body = json.loads(text)
            arrived.append((run.at(ms), body.get("u") or body["E"]))
            run.recorder.frame(run.at(ms), number, text)
        else:
            run.recorder.tick(run.at(ms))
            run.batches += run.live.drain()
            remembered = run.live.remembered
    again = Run(channel, futures=False, resume=msgspec.json.decode(remembered, type=Resume))
    again.batches = again.live.drain()
    (gap,) = again.column("gaps", "from_ns")
    first_missing = max(run.ids) + 1 if channel == "bookTicker" else None
    stored = set(run.ids)
    lost_ones = [one for one in arrived if one[1] not in stored]
    if first_missing is not None:
        assert all(ident >= first_missing for _, ident in lost_ones)
    assert all(recv_ns >= gap for recv_ns, _ in lost_ones)


def test_two_messages_of_one_time_are_not_taken_for_one() -> None:
    """Of such streams the market keeps the second in quarantine, if it is told of it."""
    run = Run("markPrice", futures=True)
    (_, _, text), *_ = tick_frames(Line(1, 0, NEVER, 0, 0), "markPrice")
    other = text.replace('"p":"1.5"', '"p":"1.7"')
    run.recorder.opened(run.at(0), 1, run.stream)
    run.recorder.frame(run.at(50), 1, text)
    run.recorder.opened(run.at(60), 2, run.stream, 1)
    run.recorder.frame(run.at(70), 2, other)
    run.recorder.stop(run.at(1000), "stopped")
    run.batches += run.live.drain()
    assert len(run.ids) == 1
    assert run.column("events", "text").count(other.encode()) == 1


def test_a_stop_in_between_leaves_nothing_behind() -> None:
    run = Run("markPrice", futures=True)
    first, second, third, *_ = [text for _, _, text in tick_frames(Line(1, 0, NEVER, 0, 0), "markPrice")]
    run.recorder.opened(run.at(0), 1, run.stream)
    run.recorder.frame(run.at(50), 1, first)
    run.recorder.opened(run.at(60), 2, run.stream, 1)
    run.recorder.frame(run.at(120), 2, second)
    run.recorder.frame(run.at(190), 1, third)
    run.recorder.stop(run.at(200), "stopped")
    run.batches += run.live.drain()
    assert sorted(run.ids) == [50, 120, 190]


def test_an_old_connection_that_is_stuck_does_not_hold_up_the_new_one() -> None:
    run = Run("depth", futures=True)
    run.play(Line(1, 0, NEVER, 0, 0)._replace(end_ms=2000), Line(2, 5000, NEVER, 0, 0))
    run.check(gaps=True)


@pytest.mark.parametrize("channel", sorted(CHANNELS))
@pytest.mark.parametrize("lags", [(0, 0), (300, 0), (0, 300)])
def test_a_replay_gives_the_same_rows(channel: str, lags: tuple[int, int], tmp_path: Path) -> None:
    capture = CaptureWriter(tmp_path, "binanceusdm", SYMBOL, ManualClock(START_NS))
    run = Run(channel, futures=True, capture=capture)
    lost = range(50, 200, 5), range(2, 200, 7)  # each leaves out some of what the other one brings
    run.play(Line(1, 0, NEVER, lags[0], 0), Line(2, 4000, NEVER, lags[1], 40), lost=lost)
    run.live.close()
    again = Run(channel, futures=True)
    again.batches.clear()
    replay = Replay(run.live.market.session, (), lambda exchange, symbol, batches: again.batches.extend(batches))
    replay.run(sorted(tmp_path.glob("*.zst")))
    tables = (*IDS, "depth", "gaps", "events")
    names = {batch.table: list(batch.columns) for batch in run.batches if batch.table in tables}
    assert TABLES[channel] in names
    for table, columns in names.items():
        for name in columns:
            if not name.endswith(("price", "quantity", "buckets")):
                assert [str(one) for one in run.column(table, name)] == [str(one) for one in again.column(table, name)]


def test_a_new_count_on_the_new_connection_is_a_gap_and_goes_on() -> None:
    run = Run("aggTrade", futures=True)
    old, new = Line(1, 0, NEVER, 0, 0), Line(2, 4000, NEVER, 0, 0)
    run.recorder.opened(run.at(0), 1, run.stream)
    for at, _, text in tick_frames(old, "aggTrade")[:50]:
        body = json.loads(text)
        run.recorder.frame(run.at(at), 1, compact({**body, "a": body["a"] + 100_000}))
    run.recorder.opened(run.at(4000), 2, run.stream, 1)
    for at, _, text in tick_frames(new, "aggTrade"):
        run.recorder.frame(run.at(at), 2, text)
    run.batches += run.live.drain()
    assert run.column("gaps", "reason")[0] == "ids restarted"
    assert run.ids[:50] == list(range(100_001, 100_051))
    anew = run.ids[50:]
    assert anew == list(range(anew[0], anew[0] + len(anew)))
    assert len(anew) > 50, "what comes within two seconds may pass for a repetition"


def trade(number: int) -> tuple[AggTrade, str]:
    return AggTrade(E=1, s=SYMBOL, a=number, p="1", q="1", f=1, l=1, T=1, m=True), ""


def test_the_new_one_speaks_once_it_is_level_and_the_old_one_is_a_reserve_from_then_on() -> None:
    handover = Handover(1, 2, 0, "trades", futures=True)
    assert not handover.offer(1, *trade(12), 10), "11 is yet to come from the old one"
    assert not handover.offer(2, *trade(13), 11), "so is 12"
    assert not handover.offer(3, *trade(14), 18)
    assert handover.repeated == 3
    assert not handover.offer(4, *trade(15), 18), "taking over now would be a step back in time"
    assert handover.offer(5, *trade(18), 18)
    assert handover.take_over(18) == []
    assert (handover.speaker, handover.silent, handover.repeated) == (2, 1, 5)
    assert not handover.offer(6, *trade(19), 18)
    assert not handover.offer(7, *trade(20), 18)
    assert [frame.last_id for frame in handover.take_over(19)] == [20], "the new one died after 19"


def test_what_comes_twice_does_not_reach_the_market() -> None:
    run = Run("aggTrade", futures=True)
    run.play(Line(1, 0, NEVER, 0, 0), Line(2, 4000, NEVER, 0, 0))
    assert not [kind for kind in run.live.market.counts if kind.endswith("duplicates")]
    details = [str(one) for one in run.column("events", "detail")]
    (told,) = [one for one in details if "took over" in one]
    assert 10 <= int(told.split("; ")[1].split()[0]) <= 16, "a second of it"
