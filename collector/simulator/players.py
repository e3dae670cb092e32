"""Moves sources with time: a seeded market by steps, a capture by its stamps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from collector.simulator.seeded import STEP_MS

if TYPE_CHECKING:
    from collector.clock import Clock
    from collector.simulator.captured import CaptureSource
    from collector.simulator.hub import Hub
    from collector.simulator.names import Subscription
    from collector.simulator.seeded import SeededSource

_STEP_NS = STEP_MS * 10**6
_MOST_LATE_STEPS = 20
_BATCH_LINES = 64


async def play_seeded(source: SeededSource, hub: Hub, clock: Clock) -> None:
    """Steps all markets of a source every `STEP_MS`, for ever. After a stall it goes on from the present."""
    next_ns = clock.now_ns() // _STEP_NS * _STEP_NS + _STEP_NS
    while True:
        await asyncio.sleep(max(0.0, (next_ns - clock.now_ns()) / 1e9))
        late_steps = (clock.now_ns() - next_ns) // _STEP_NS
        if late_steps > _MOST_LATE_STEPS:
            next_ns += late_steps * _STEP_NS
        for symbol, market in source.markets.items():
            subscribed = hub.subscribed(market.instrument.exchange, symbol)
            for message in market.advance(next_ns // 10**6, subscribed):
                hub.publish(message)
        next_ns += _STEP_NS


class CapturePlayer:
    """Plays one exchange's captures once. Their time starts when a stream that they hold is first subscribed to."""

    def __init__(self, source: CaptureSource, hub: Hub, clock: Clock, speed: float, start_delay_s: float) -> None:
        """
        Args:
            speed: how much faster than recorded; 0 is as fast as the clients take it.
            start_delay_s: pause before the first line, for clients that subscribe to one stream after another.
        """
        self.source = source
        self.ended = False
        self._hub = hub
        self._clock = clock
        self._speed = speed
        self._start_delay_s = start_delay_s
        self._started = asyncio.Event()
        hub.on_subscribed.append(self._subscribed)

    async def run(self) -> None:
        """Returns when the last line was sent; connections stay open."""
        await self._started.wait()
        await asyncio.sleep(self._start_delay_s)
        start_ns = self._clock.now_ns()
        for recv_ns, message in self.source.play():
            if self._speed:
                due_ns = start_ns + (recv_ns - self.source.first_ns) / self._speed
                wait_s = (due_ns - self._clock.now_ns()) / 1e9
                if wait_s > 0.0005:
                    await asyncio.sleep(wait_s)
            if message is not None:
                self._hub.publish(message)
            if self.source.played % _BATCH_LINES == 0:
                # Also lets requests in while the capture is late or unpaced.
                await asyncio.sleep(0)
                await self._hub.drained()
        self.ended = True

    def describe(self) -> dict[str, Any]:
        return {
            "files": [path.name for path in self.source.paths],
            "streams": self.source.streams,
            "lines": self.source.lines,
            "played": self.source.played,
            "unknown": self.source.unknown,
            "torn": self.source.torn,
            "started": self._started.is_set(),
            "ended": self.ended,
        }

    def _subscribed(self, exchange: str, wanted: Subscription) -> None:
        if exchange == self.source.exchange and wanted.channel in self.source.streams.get(wanted.symbol, {}):
            self._started.set()
