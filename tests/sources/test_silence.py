"""When exactly a stream is asked about, and when it is given up."""

from __future__ import annotations

import pytest

from collector.clock import ManualClock
from collector.sources.feed import Stream
from collector.sources.silence import SilenceWatch

START_NS = 10**18
DEPTH = Stream("BTCUSDT", "depth", "btcusdt@depth@100ms")
PRICES = Stream("BTCUSDT", "markPrice", "btcusdt@markPrice@1s")
FORCED = Stream("BTCUSDT", "forceOrder", "btcusdt@forceOrder")
QUOTE = (1.0, 1.0, 2.0, 1.0)


class Line:
    """A subscription that does nothing."""

    def __init__(self, stream: Stream) -> None:
        self.channel = stream.channel
        self.streams = (stream,)
        self.opened_ns: int | None = START_NS
        self.seen: int | None = None
        self.dropped: list[str] = []

    def seen_ns(self, stream: Stream) -> int | None:
        return self.seen

    def drop(self, reason: str, detail: str) -> None:
        self.dropped.append(reason)
        self.opened_ns = self.seen = None


class Scene:
    def __init__(self, stream: Stream = DEPTH, last_seen=None) -> None:
        self.clock = ManualClock(START_NS)
        self.line = Line(stream)
        self.mark = QUOTE
        self.probed_s: list[float] = []
        self.watch = SilenceWatch(
            [self.line], self.probe, object(), self.clock, silence_s={"depth": 30}, last_seen=last_seen
        )

    @property
    def now_s(self) -> float:
        return (self.clock.now_ns() - START_NS) / 1e9

    async def probe(self, stream: Stream):
        self.probed_s.append(self.now_s)
        return self.mark

    async def go(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            await self.watch.check()


async def test_a_stream_that_never_spoke_needs_two_looks_and_a_grace():
    scene = Scene()
    await scene.go(30)
    assert scene.probed_s == [30]
    scene.mark = (1.5, 1.0, 2.0, 1.0)
    await scene.go(12)
    assert scene.probed_s == [30, 40]
    assert scene.line.dropped == []
    await scene.go(1)
    assert scene.line.dropped == ["silent"]


async def test_a_stream_that_spoke_is_judged_by_what_it_said():
    scene = Scene(last_seen=lambda stream: (0.5, 1.0, 2.0, 1.0))
    await scene.go(5)
    scene.line.seen = scene.clock.now_ns()
    await scene.go(33)
    assert scene.probed_s == [35]
    assert scene.line.dropped == ["silent"]


async def test_what_was_said_on_an_earlier_connection_is_no_measure():
    scene = Scene(last_seen=lambda stream: (0.5, 1.0, 2.0, 1.0))
    await scene.go(60)
    assert scene.line.dropped == []


async def test_quiet_markets_are_asked_about_at_growing_distances():
    scene = Scene()
    await scene.go(3000)
    assert scene.probed_s == [30, 40, 70, 130, 250, 490, 970, 1450, 1930, 2410, 2890]
    assert scene.line.dropped == []


async def test_a_word_clears_every_suspicion():
    scene = Scene(last_seen=lambda stream: (0.5, 1.0, 2.0, 1.0))
    scene.line.seen = START_NS
    await scene.go(31)
    scene.line.seen = scene.clock.now_ns()
    await scene.go(29)
    assert scene.line.dropped == []
    assert scene.probed_s == [30]


async def test_a_connection_that_is_not_open_is_not_judged():
    scene = Scene()
    scene.line.opened_ns = None
    await scene.go(300)
    assert (scene.probed_s, scene.line.dropped) == ([], [])


async def test_a_stream_that_no_connection_revives_is_not_fought_for():
    scene = Scene()
    for _ in range(3000):
        scene.mark = (scene.now_s, 1.0, 2.0, 1.0)
        await scene.go(1)
        if scene.line.dropped and scene.line.dropped[-1] == "silent":
            scene.line.dropped[-1] = f"{scene.now_s:.0f}"
            scene.line.opened_ns = scene.clock.now_ns()
    assert scene.line.dropped == ["43", "116", "249", "502", "995", "1488", "1981", "2474", "2967"]


async def test_a_stream_that_always_moves_needs_no_question():
    scene = Scene(PRICES)
    await scene.go(30)
    assert (scene.probed_s, scene.line.dropped) == ([], ["silent"])


async def test_liquidations_may_stay_away_for_ever():
    scene = Scene(FORCED)
    await scene.go(3000)
    assert (scene.probed_s, scene.line.dropped) == ([], [])


@pytest.mark.parametrize(("known", "now", "dead"), [(5, 6, True), (5, 5, False), (6, 5, False)])
async def test_ids_only_grow(known, now, dead):
    scene = Scene(last_seen=lambda stream: known)
    scene.line.seen = START_NS
    scene.mark = now
    await scene.go(40)
    assert scene.line.dropped == (["silent"] if dead else [])
