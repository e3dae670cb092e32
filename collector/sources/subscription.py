"""One subscription kept alive: a channel, some markets, a connection of their own, again and again.

The exchange ends each connection after 24 hours, or when it announces `serverShutdown`. Before that another one is
brought up beside it, and the old one goes once the sink has all streams from the new one.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from collector.core.channels import is_partial
from collector.sources.connection import Connection, Ending, Surroundings
from collector.sources.pacing import Backoff
from collector.sources.streams import routing_channel

if TYPE_CHECKING:
    from collector.sources.feed import Stream

log = logging.getLogger("collector.feed")

OVERLAP_S = 15.0  # a replaced connection goes after so long even if a quiet stream said nothing on the new one
_SETTLED_AFTER_S = 60.0  # a connection that lived so long starts the back-off afresh
_FIRST_DELAY_S = 1.0
_SPREAD = 1 / 46  # of the time to rotation, both ways: half an hour of 23


class _Running(NamedTuple):
    connection: Connection
    task: asyncio.Task[Ending]


class Subscription:
    """Connects, subscribes, replaces and reconnects without touching any other subscription.

    The sink hears `opened` when the exchange has acknowledged, and `closed` once for each `opened`.
    """

    def __init__(self, exchange: str, channel: str, streams: tuple[Stream, ...], around: Surroundings) -> None:
        self.channel = channel
        self.streams = streams
        self._exchange = exchange
        self._around = around
        wrapped = is_partial(channel)  # nothing else tells these from diffs, or of which market they are
        names = [stream.name for stream in streams]
        url = around.transport.ws_url(routing_channel(channel), names, wrapped=wrapped)
        # ccxt tells connections apart by URL. A fragment is not sent, so both are the same to the exchange.
        self._urls = (url, f"{url}#replacement")
        self._present: _Running | None = None
        self._heir: _Running | None = None
        self._due_ns: int | None = None  # when the present connection is to be replaced
        self._backoff = Backoff(_FIRST_DELAY_S, around.reconnect_cap_s, around.rng)
        self._away = False

    @property
    def opened_ns(self) -> int | None:
        """Since when the exchange has acknowledged; None while it has not."""
        return self._present.connection.opened_ns if self._present is not None else None

    def seen_ns(self, stream: Stream) -> int | None:
        """When `stream` last brought data on the present connection; None when it has not yet."""
        return self._present.connection.seen_ns(stream) if self._present is not None else None

    def drop(self, reason: str, detail: str) -> None:
        """Ends the present connection; the next one follows, after the back-off if none is at hand."""
        if self._present is not None:
            self._present.connection.drop(reason, detail)

    def end(self, stream: Stream, reason: str, detail: str) -> None:
        """Reports one stream as over; its connection and the other streams go on."""
        if self._present is not None and self.opened_ns is not None:
            now_ns = self._around.clock.now_ns()
            self._around.sink.closed(now_ns, self._present.connection.number, (stream,), reason)
            self._around.sink.event(now_ns, stream.symbol, reason, detail)

    def check(self, now_ns: int, dead_after_s: float) -> None:
        """Drops connections that are dead, and replaces the present one when it is time. Call it about each second."""
        for running in (self._present, self._heir):
            if running is not None:
                running.connection.check(now_ns, dead_after_s)
        self._rotate(now_ns)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                if self._present is None:
                    self._present = self._start()
                ending = await self._present.task
                if ending.lived_s > _SETTLED_AFTER_S:
                    self._backoff.reset()
                if not self._take_heir():
                    pause_s = max(self._backoff.next_s(), ending.retry_after_s)
                    self._say(ending, pause_s)
                    await self._around.sleep(pause_s)
        finally:
            running = [one.task for one in (self._present, self._heir) if one is not None]
            self._present = self._heir = None
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _say(self, ending: Ending, pause_s: float) -> None:
        """Tells the person who watches, once for each time that there is no connection: events have them all."""
        level = logging.INFO if self._away and not ending.lived_s else logging.WARNING
        what = "connection lost" if ending.lived_s else "no connection"
        log.log(
            level, "%s %s: %s (%s); next attempt in %.1f s", self._exchange, self.channel, what, ending.detail, pause_s
        )
        self._away = True

    def _start(self) -> _Running:
        used = self._present.connection.url if self._present is not None else None
        connection = Connection(
            next(url for url in self._urls if url != used),
            self.channel,
            self.streams,
            self._around,
            on_open=self._acknowledged,
            on_shutdown=self._shutdown_announced,
        )
        return _Running(connection, asyncio.create_task(connection.run(), name=f"{self.channel} {connection.number}"))

    def _take_heir(self) -> bool:
        """Makes the replacement the present connection; False when there is none."""
        self._present, self._heir = self._heir, None
        self._due_ns = None
        if self._present is None:
            return False
        connection = self._present.connection
        if connection.opened_ns is not None:
            self._due_ns = connection.opened_ns if connection.shutdown else self._replace_at(connection.opened_ns)
        return True

    def _replace_at(self, opened_ns: int) -> int:
        after_s = self._around.rotate_after_s
        # At different times for different connections, so that they are not all doubled at once.
        return opened_ns + round((after_s + self._around.rng.uniform(-after_s, after_s) * _SPREAD) * 1e9)

    def _rotate(self, now_ns: int) -> None:
        """Starts a replacement that is due; ends the present connection once its replacement has taken over."""
        present, heir = self._present, self._heir
        if present is None or present.connection.opened_ns is None:
            return
        if heir is None:
            if self._due_ns is not None and now_ns >= self._due_ns:
                self._heir = self._start()
        elif heir.task.done():
            self._heir = None
            ending = heir.task.result()
            self._due_ns = now_ns + round(max(self._backoff.next_s(), ending.retry_after_s) * 1e9)
        elif (opened_ns := heir.connection.opened_ns) is not None:
            late = now_ns - opened_ns > OVERLAP_S * 1e9
            if late or self._around.sink.handed_over(heir.connection.number):
                reason = "shutdown" if present.connection.shutdown else "rotated"
                present.connection.drop(reason, f"connection {heir.connection.number} takes over")

    def _acknowledged(self, connection: Connection) -> int | None:
        present = self._present.connection if self._present is not None else None
        assert connection.opened_ns is not None
        self._away = False
        if present is None or present is connection:
            self._due_ns = self._replace_at(connection.opened_ns)
            return None
        return present.number if present.opened_ns is not None else None

    def _shutdown_announced(self, connection: Connection) -> None:
        if self._present is None or connection is not self._present.connection:
            return
        if connection.opened_ns is None:
            connection.drop("shutdown", "the exchange announced serverShutdown")
            return
        now_ns = self._around.clock.now_ns()
        self._due_ns = now_ns
        self._rotate(now_ns)
