"""One websocket connection of a subscription, from dial to end."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from collector.sources.errors import ConnectionLostError
from collector.sources.tap import Reply, Tap

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from collector.clock import Clock
    from collector.sources.budget import Sleep
    from collector.sources.feed import FeedSink, Stream
    from collector.sources.pacing import ConnectLimiter
    from collector.sources.transport import Transport

ACKNOWLEDGE_WITHIN_S = 20.0  # from the dial; ccxt gives the dial itself 10
_TOLD = frozenset({"stopped", "rotated", "shutdown"})  # endings that need no event of their own


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
    rotate_after_s: float


class Ending(NamedTuple):
    """What is known of a connection that is over: seconds acknowledged, how long the server wants us away, and why."""

    lived_s: float
    retry_after_s: float
    detail: str


class Connection:
    """Tells the sink `opened` when the exchange has acknowledged, and then `closed`, once.

    Attributes:
        number: what the sink knows it by.
        opened_ns: since when the exchange has acknowledged; None before, and again when it is over.
        shutdown: whether the exchange announced its end.
    """

    def __init__(
        self,
        url: str,
        channel: str,
        streams: tuple[Stream, ...],
        around: Surroundings,
        *,
        on_open: Callable[[Connection], int | None],
        on_shutdown: Callable[[Connection], None],
    ) -> None:
        """`on_open` gives the number of the connection that this one replaces."""
        self.url = url
        self.number = next(around.numbers)
        self.opened_ns: int | None = None
        self.shutdown = False
        self._channel = channel
        self._streams = streams
        self._around = around
        self._on_open = on_open
        self._on_shutdown = on_shutdown
        self._symbol = streams[0].symbol if len(streams) == 1 else None
        self._tap = Tap(
            self.number,
            around.sink,
            on_open=self._acknowledged,
            on_reply=self._replied,
            on_shutdown=self._shutdown_announced,
        )
        self._dialled_ns: int | None = None
        self._cause: tuple[str, str] | None = None

    def seen_ns(self, stream: Stream) -> int | None:
        """When `stream` last brought data; None when it has not yet."""
        return self._tap.seen_ns.get((stream.symbol, stream.channel))

    def drop(self, reason: str, detail: str) -> None:
        """Ends the connection. The first reason counts."""
        if self._dialled_ns is not None and self._cause is None:
            self._cause = (reason, detail)
            self._around.transport.drop(self.url, detail)

    def check(self, now_ns: int, dead_after_s: float) -> None:
        """Drops a connection that was never acknowledged, or on which nothing comes, not even pings."""
        if self._dialled_ns is None:
            return
        if self.opened_ns is None:
            if now_ns - self._dialled_ns > ACKNOWLEDGE_WITHIN_S * 1e9:
                self.drop("unacknowledged", f"no acknowledgement within {ACKNOWLEDGE_WITHIN_S:g} s")
        elif now_ns - max(self._tap.heard_ns, self.opened_ns) > dead_after_s * 1e9:
            self.drop("dead", f"neither data nor pings for {dead_after_s:g} s")

    async def run(self) -> Ending:
        """Dials once the limit of connection attempts allows, and stays until the connection is over."""
        around = self._around
        await around.connects.take()
        self._dialled_ns = around.clock.now_ns()
        ending = ("stopped", "")
        try:
            await around.transport.subscribe(self.url, [stream.name for stream in self._streams], self._tap)
        except ConnectionLostError as error:
            ending = ("shutdown" if self.shutdown else "disconnect", str(error))
        finally:
            client = around.transport.detach(self.url)
            now_ns = around.clock.now_ns()
            if client is not None and client.oversize:
                ending = ("oversize", "a frame over 10 MiB")
            reason, detail = self._cause or ending
            lived_s = self._report(now_ns, reason, detail)
            if client is not None:
                await client.end()
        return Ending(lived_s, (client.last_retry_after or 0.0) if client is not None else 0.0, detail or reason)

    def _report(self, now_ns: int, reason: str, detail: str) -> float:
        sink, opened_ns = self._around.sink, self.opened_ns
        self.opened_ns = None
        self._dialled_ns = None
        if opened_ns is None:
            if reason == "stopped":
                return 0.0
            reason = "connect_failed" if reason == "disconnect" else reason
        else:
            sink.closed(now_ns, self.number, self._streams, reason)
        if reason not in _TOLD:
            self._tell(now_ns, reason, detail)
        return 0.0 if opened_ns is None else (now_ns - opened_ns) / 1e9

    def _tell(self, now_ns: int, kind: str, detail: str) -> None:
        text = f"{self._channel} connection {self.number}: {detail}"[:500]
        self._around.sink.event(now_ns, self._symbol, kind, text)

    def _acknowledged(self, now_ns: int) -> None:
        self.opened_ns = now_ns
        self._around.sink.opened(now_ns, self.number, self._streams, self._on_open(self))

    def _replied(self, now_ns: int, reply: Reply) -> None:
        self._around.transport.reply(self.url, reply.message)
        if reply.error is not None:
            self.drop("rejected", f"the exchange refused the subscription: {reply.error}")

    def _shutdown_announced(self, now_ns: int) -> None:
        if not self.shutdown:
            self.shutdown = True
            self._tell(now_ns, "shutdown", "the exchange announced serverShutdown")
            self._on_shutdown(self)
