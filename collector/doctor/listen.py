"""Whether every wanted stream delivers, by listening, and by asking REST about those that are silent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from collector.core.channels import channel_of
from collector.core.decode import Undecodable, decode
from collector.doctor.report import Check
from collector.sources.budget import weight_of
from collector.sources.errors import RestError
from collector.sources.feed import Stream
from collector.sources.silence import Mark, Probe, rest_probe

if TYPE_CHECKING:
    from collector.clock import Clock
    from collector.sources.binance_feed import BinanceFeed
    from collector.sources.markets import MarketInfo
    from collector.sources.transport import Transport

_ASKED = 10  # silent streams of a channel that REST is asked about
_NAMED = 5
_TROUBLE = frozenset({"rejected", "connect_failed", "unacknowledged", "disconnect", "shutdown", "internal_error"})


class Listener:
    """A sink that keeps nothing but when each stream was first heard, and what went wrong."""

    def __init__(self, clock: Clock) -> None:
        self.heard_ns: dict[tuple[str, str], int] = {}
        self.frames = 0
        self.undecodable = 0
        self.trouble: list[str] = []
        self._clock = clock
        self._news = asyncio.Event()

    def silent(self, streams: Sequence[Stream]) -> list[Stream]:
        """Those of `streams` that have not been heard."""
        return [stream for stream in streams if (stream.symbol, stream.channel) not in self.heard_ns]

    async def hear(self, streams: Sequence[Stream], seconds: float) -> None:
        """Waits until each of `streams` was heard, at most for so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.silent(streams):
                    self._news.clear()
                    await self._news.wait()

    def frame(self, recv_ns: int, connection: int, text: str | bytes) -> Stream | None:
        self.frames += 1
        try:
            message = decode(text)
        except Undecodable:
            self.undecodable += 1
            return None
        stream = Stream(message.s, channel_of(message.channel), "")
        if (stream.symbol, stream.channel) not in self.heard_ns:
            self.heard_ns[stream.symbol, stream.channel] = recv_ns
            self._news.set()
        return stream

    def event(self, now_ns: int, symbol: str | None, kind: str, detail: str) -> None:
        if kind in _TROUBLE:
            self.trouble.append(f"{kind}: {detail}")

    def opened(self, now_ns: int, connection: int, streams: Sequence[Stream], replaces: int | None = None) -> None:
        """Nothing to keep."""

    def handed_over(self, connection: int) -> bool:
        """Nothing is kept, so nothing has to be reached."""
        return True

    def closed(self, now_ns: int, connection: int, streams: Sequence[Stream], reason: str) -> None:
        """Nothing to keep: an event says the same."""

    def anchor_requested(self, now_ns: int, symbol: str, reason: str) -> None:
        """None is asked for."""

    def anchor(self, recv_ns: int, symbol: str, requested_ns: int, reason: str, limit: int, text: bytes) -> None:
        """None is asked for."""

    def polled(
        self,
        recv_ns: int,
        symbol: str,
        what: Literal["book", "open_interest"],
        requested_ns: int,
        limit: int,
        text: bytes,
    ) -> None:
        """Nothing to keep."""

    def listed(self, now_ns: int, market: MarketInfo, streams: Sequence[Stream]) -> None:
        """Nothing to keep."""

    async def begun(self, symbol: str) -> None:
        """At once: nothing is kept that could be lost."""

    def clock_measured(self, now_ns: int, offset_ns: int, round_trip_ns: int, samples: int) -> None:
        """Measured by a check of its own."""


async def streams_checks(
    exchange: str, feed: BinanceFeed, listener: Listener, transport: Transport, seconds: float
) -> list[Check]:
    """Runs a started feed for at most `seconds`, and as long again if a stream is silent; one check a channel.

    A silent stream fails when REST shows that the exchange moved on meanwhile; otherwise its market may be quiet.
    """
    running = asyncio.create_task(feed.run())
    try:
        await listener.hear(feed.streams, seconds)
        silent = listener.silent(feed.streams)
        probe = rest_probe(
            transport, {"depth": weight_of(exchange, "depth", 5), "aggTrades": weight_of(exchange, "aggTrades")}
        )
        before = await _marks(silent, probe)
        if silent:
            await listener.hear(silent, seconds)
        silent = listener.silent(feed.streams)
        after = await _marks([stream for stream in silent if stream in before], probe)
    finally:
        running.cancel()
        await asyncio.wait([running])
    dead = {stream for stream, mark in after.items() if mark is not None and before[stream] not in (None, mark)}
    channels = dict.fromkeys(stream.channel for stream in feed.streams)
    return [_check(exchange, channel, feed.streams, silent, dead, listener) for channel in channels]


async def _marks(streams: Sequence[Stream], probe: Probe) -> dict[Stream, Mark | None]:
    """Where the exchange stands in some of `streams` of each channel; None where it does not say."""
    marks: dict[Stream, Mark | None] = {}
    asked: dict[str, int] = {}
    for stream in streams:
        asked[stream.channel] = asked.get(stream.channel, 0) + 1
        if asked[stream.channel] <= _ASKED:
            try:
                marks[stream] = await probe(stream)
            except RestError:
                marks[stream] = None
    return marks


def _check(
    exchange: str,
    channel: str,
    streams: Sequence[Stream],
    silent: Sequence[Stream],
    dead: set[Stream],
    listener: Listener,
) -> Check:
    mine, still = _of(streams, channel), _of(silent, channel)
    lost = [stream for stream in still if stream in dead]
    name, found = f"{exchange} {channel}", f"{len(mine) - len(still):,} of {len(mine):,} streams deliver"
    data = {"streams": len(mine), "silent": [one.name for one in still], "dead": [one.name for one in lost]}
    if not still:
        return Check(name, "ok", found, data=data)
    trouble = f" ({listener.trouble[-1]})" if listener.trouble else ""
    if lost:
        found += f"; the exchange moves on, but these say nothing: {_names(lost)}{trouble}"
        mend = "check the websocket URL and its path; some proxies pass a connection and swallow its messages"
        return Check(name, "FAIL", found, mend, data)
    found += f"; silent: {_names(still)}{trouble}"
    if len(still) == len(mine) and listener.trouble:
        return Check(name, "FAIL", found, "mend what is named, then look again", data)
    return Check(name, "warn", found, "the markets may be quiet: look again with more --seconds", data)


def _of(streams: Sequence[Stream], channel: str) -> list[Stream]:
    return [stream for stream in streams if stream.channel == channel]


def _names(streams: Sequence[Stream]) -> str:
    more = f" and {len(streams) - _NAMED} more" if len(streams) > _NAMED else ""
    return ", ".join(stream.name for stream in streams[:_NAMED]) + more
