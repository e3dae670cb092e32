"""One subscription kept alive: a channel, some markets, a connection of their own, again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from collector.sources.errors import ConnectionLostError
from collector.sources.pacing import Backoff, ConnectLimiter
from collector.sources.streams import is_partial_depth, routing_channel
from collector.sources.tap import Reply, Tap

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from collector.clock import Clock
    from collector.sources.budget import Sleep
    from collector.sources.feed import FeedSink, Stream
    from collector.sources.transport import Transport

ACKNOWLEDGE_WITHIN_S = 20.0  # from the dial; ccxt gives the dial itself 10
_SETTLED_AFTER_S = 60.0  # a connection that lived so long starts the back-off afresh
_FIRST_DELAY_S = 1.0


class Surroundings(NamedTuple):
    """What every subscription of a feed shares."""

    transport: Transport
    sink: FeedSink
    clock: Clock
    connects: ConnectLimiter
    numbers: Iterator[int]
    sleep: Sleep
    rng: random.Random
    reconnect_cap_s: float


class Subscription:
    """Connects, subscribes and reconnects without touching any other subscription.

    The sink hears `opened` when the exchange has acknowledged, and `closed` once for each `opened`.
    """

    def __init__(self, exchange: str, channel: str, streams: tuple[Stream, ...], around: Surroundings) -> None:
        self.channel = channel
        self.streams = streams
        self._around = around
        names = [stream.name for stream in streams]
        wrapped = exchange == "binance" and is_partial_depth(channel)
        self._names = names
        self._url = around.transport.ws_url(routing_channel(channel), names, wrapped=wrapped)
        self._symbol = streams[0].symbol if len(streams) == 1 else None
        self._tap: Tap | None = None
        self._dialled_ns = 0
        self._opened_ns: int | None = None
        self._cause: tuple[str, str] | None = None

    @property
    def opened_ns(self) -> int | None:
        """Since when the exchange has acknowledged; None while it has not."""
        return self._opened_ns

    def seen_ns(self, stream: Stream) -> int | None:
        """When `stream` last brought data on the present connection; None when it has not yet."""
        return self._tap.seen_ns.get((stream.symbol, stream.channel)) if self._tap is not None else None

    def drop(self, reason: str, detail: str) -> None:
        """Ends the present connection; the next one follows after the back-off."""
        if self._tap is not None and self._cause is None:
            self._cause = (reason, detail)
            self._around.transport.drop(self._url, detail)

    def end(self, stream: Stream, reason: str, detail: str) -> None:
        """Reports one stream as over; its connection and the other streams go on."""
        if self._tap is not None and self._opened_ns is not None:
            now_ns = self._around.clock.now_ns()
            self._around.sink.closed(now_ns, self._tap.connection, (stream,), reason)
            self._around.sink.event(now_ns, stream.symbol, reason, detail)

    def check(self, now_ns: int, dead_after_s: float) -> None:
        """Drops a connection that was never acknowledged, or on which nothing comes, not even pings."""
        if self._tap is None:
            return
        if self._opened_ns is None:
            if now_ns - self._dialled_ns > ACKNOWLEDGE_WITHIN_S * 1e9:
                self.drop("unacknowledged", f"no acknowledgement within {ACKNOWLEDGE_WITHIN_S:g} s")
        elif now_ns - max(self._tap.heard_ns, self._opened_ns) > dead_after_s * 1e9:
            self.drop("dead", f"neither data nor pings for {dead_after_s:g} s")

    async def run(self) -> None:
        """Until cancelled."""
        backoff = Backoff(_FIRST_DELAY_S, self._around.reconnect_cap_s, self._around.rng)
        while True:
            await self._around.connects.take()
            lived_s, retry_after_s = await self._connect()
            if lived_s > _SETTLED_AFTER_S:
                backoff.reset()
            await self._around.sleep(max(backoff.next_s(), retry_after_s))

    async def _connect(self) -> tuple[float, float]:
        """One connection from dial to end: seconds acknowledged, seconds that the server asks us to stay away."""
        around = self._around
        self._tap = tap = Tap(
            next(around.numbers),
            around.sink,
            on_open=self._acknowledged,
            on_reply=self._replied,
            on_shutdown=lambda _: self.drop("shutdown", "the exchange announced serverShutdown"),
        )
        self._dialled_ns = around.clock.now_ns()
        self._cause = None
        ending = ("stopped", "")
        try:
            await around.transport.subscribe(self._url, self._names, tap)
        except ConnectionLostError as error:
            ending = ("disconnect", str(error))
        finally:
            client = around.transport.detach(self._url)
            now_ns = around.clock.now_ns()
            if client is not None and client.oversize:
                ending = ("oversize", "a frame over 10 MiB")
            self._tap = None
            lived_s = self._report(now_ns, tap.connection, *(self._cause or ending))
            if client is not None:
                await client.end()
        return lived_s, (client.last_retry_after or 0.0) if client is not None else 0.0

    def _report(self, now_ns: int, connection: int, reason: str, detail: str) -> float:
        sink, opened_ns = self._around.sink, self._opened_ns
        self._opened_ns = None
        if opened_ns is None:
            if reason == "stopped":
                return 0.0
            reason = "connect_failed" if reason == "disconnect" else reason
        else:
            sink.closed(now_ns, connection, self.streams, reason)
        if reason != "stopped":
            sink.event(now_ns, self._symbol, reason, f"{self.channel} connection {connection}: {detail}"[:500])
        return 0.0 if opened_ns is None else (now_ns - opened_ns) / 1e9

    def _replied(self, now_ns: int, reply: Reply) -> None:
        self._around.transport.reply(self._url, reply.message)
        if reply.error is not None:
            self.drop("rejected", f"the exchange refused the subscription: {reply.error}")

    def _acknowledged(self, now_ns: int) -> None:
        assert self._tap is not None
        self._opened_ns = now_ns
        self._around.sink.opened(now_ns, self._tap.connection, self.streams)
