"""From a feed's calls to markets: routing by symbol, and who speaks where two connections carry one stream."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal

import msgspec

from collector.core.batch import Batch, Column
from collector.core.channels import channel_of, stream_of
from collector.core.decode import Undecodable, decode
from collector.core.inputs import (
    AnchorArrived,
    AnchorRequested,
    Closed,
    HealingEnded,
    Note,
    Opened,
    Polled,
    RestTrades,
    SessionStopped,
    Tick,
    Verbatim,
)
from collector.core.venues.open import Decoder
from collector.handover import Handover
from collector.live_market import LiveMarket
from collector.refusals import BY_BACKEND
from collector.sources.feed import Stream
from collector.sources.healing import Lacking
from collector.sources.markets import MarketInfo

_SYMBOL = re.compile(rb'"s"\s*:\s*"([^"\\]{1,64})"')


class Recorder:
    """The sink of one feed. After `stop` it takes nothing more."""

    def __init__(
        self,
        markets: dict[str, LiveMarket],
        request_anchor: Callable[[str, str], object],
        decode: Decoder = decode,
    ) -> None:
        self.frames = 0
        self.may_heal = True
        """Whether rows are stored now, so that it makes sense to fetch what gaps lack."""
        self.on_listed: Callable[[MarketInfo, Sequence[Stream]], None] | None = None
        """Makes the market of one that joins."""
        self.clock_offset_ns: int | None = None
        self.clock_measured_ns: int | None = None
        self._decode = decode
        self._markets = markets
        self._request_anchor = request_anchor
        self._stopped = False
        self._by_connection: dict[int, str] = {}

    def frame(self, recv_ns: int, connection: int, text: str | bytes) -> Stream | None:
        if self._stopped:
            return None
        self.frames += 1
        try:
            message = self._decode(text)
            live = self._markets.get(message.s)
        except Undecodable:
            live = None
        if live is None:
            self._unknown(recv_ns, connection, text)
            return None
        channel = message.channel
        handover = live.handovers.get(channel) if live.handovers else None
        if handover is not None and connection == handover.silent:
            if handover.offer(recv_ns, message, text, live.market.position(channel)):
                self._take_over(recv_ns, live, channel, handover)
            else:
                self._hand_unsaid(recv_ns, live, channel, handover)
        else:
            if handover is not None:
                handover.said(text)
            if live.market.connection(channel) != connection:
                live.apply(recv_ns, Opened(connection, [channel]))
                self._by_connection.setdefault(connection, message.s)
            live.message(recv_ns, message, text)
        reason = live.market.take_wanted_anchor()
        if reason is not None:
            self._request_anchor(message.s, reason)
        return _stream(message.s, channel)

    def opened(self, now_ns: int, connection: int, streams: Sequence[Stream], replaces: int | None = None) -> None:
        for symbol, channels in self._by_symbol(streams).items():
            live = self._markets[symbol]
            self._by_connection.setdefault(connection, symbol)
            fresh = []
            for channel in channels:
                carrier = live.market.connection(channel)
                if replaces is not None and carrier == replaces:
                    futures = live.market.session.futures
                    live.handovers[channel] = Handover(replaces, connection, now_ns, channel, futures=futures)
                elif carrier != connection:
                    fresh.append(channel)
            if fresh:
                live.apply(now_ns, Opened(connection, fresh))

    def handed_over(self, connection: int) -> bool:
        return all(
            one.speaker == connection
            for live in self._markets.values()
            for one in live.handovers.values()
            if one.new == connection
        )

    def closed(self, now_ns: int, connection: int, streams: Sequence[Stream], reason: str) -> None:
        self._by_connection.pop(connection, None)
        for symbol, channels in self._by_symbol(streams).items():
            live = self._markets[symbol]
            for channel in channels:
                handover = live.handovers.pop(channel, None)
                if handover is None:
                    live.apply(now_ns, Closed(connection, [channel], reason))
                else:
                    self._end_handover(now_ns, live, channel, handover, Closed(connection, [channel], reason))

    def anchor_requested(self, now_ns: int, symbol: str, reason: str) -> None:
        if not self._stopped:
            self._markets[symbol].apply(now_ns, AnchorRequested(reason))

    def anchor(self, recv_ns: int, symbol: str, requested_ns: int, reason: str, limit: int, text: bytes) -> None:
        if self._stopped:
            return
        live = self._markets[symbol]
        live.apply(recv_ns, AnchorArrived(requested_ns, reason, limit))
        live.anchor(recv_ns, text)
        self._ask(symbol, live)

    def rest_trades(self, recv_ns: int, symbol: str, channel: str, text: bytes) -> None:
        if not self._stopped:
            # A capture's line is one line; outside of texts, which hold none, line breaks mean nothing in JSON.
            rows = msgspec.Raw(text.replace(b"\n", b" ").replace(b"\r", b" "))
            self._markets[symbol].apply(recv_ns, RestTrades(channel, rows))

    def healing_ended(self, now_ns: int, symbol: str, channel: str, gap_id: str, reason: str) -> None:
        if not self._stopped:
            self._markets[symbol].apply(now_ns, HealingEnded(channel, gap_id, reason))

    def lacking(self) -> list[Lacking]:
        """The gaps that trades fetched by REST may still fill."""
        if self._stopped or not self.may_heal:
            return []
        return [
            Lacking(symbol, one)
            for symbol, live in self._markets.items()
            for one in live.market.unfilled()
            if one.gap.reason != BY_BACKEND
        ]

    def polled(
        self,
        recv_ns: int,
        symbol: str,
        what: Literal["book", "open_interest"],
        requested_ns: int,
        limit: int,
        text: bytes,
    ) -> None:
        if not self._stopped:
            self._markets[symbol].apply(recv_ns, Polled(what, requested_ns, text.strip(), limit))

    def listed(self, now_ns: int, market: MarketInfo, streams: Sequence[Stream]) -> None:
        if not self._stopped and self.on_listed is not None:
            self.on_listed(market, streams)
            self.event(now_ns, market.symbol, "listed", f"{market.unified} joins: a wildcard means it by now")

    async def begun(self, symbol: str) -> None:
        live = self._markets.get(symbol)
        if live is not None:
            await live.begun.wait()

    def clock_measured(self, now_ns: int, offset_ns: int, round_trip_ns: int, samples: int) -> None:
        self.clock_offset_ns, self.clock_measured_ns = offset_ns, now_ns
        self.clock_row(now_ns, "offset", offset_ns, round_trip_ns, samples)

    def clock_row(self, now_ns: int, kind: str, offset_ns: int, round_trip_ns: int | None, samples: int | None) -> None:
        """One row of `clock` in each market."""
        columns: dict[str, Column] = {
            "time_ns": [now_ns],
            "sequence": [0 if kind == "offset" else 1],
            "kind": [kind],
            "offset_ns": [offset_ns],
            "round_trip_ns": [round_trip_ns],
            "samples": [samples],
        }
        for live in self._markets.values():
            live.process_rows.append(Batch("clock", dict(columns)))

    def event(self, now_ns: int, symbol: str | None, kind: str, detail: str) -> None:
        if self._stopped:
            return
        for name, live in self._markets.items():
            if symbol in (None, name):  # or of a market of an earlier session, that is not collected any more
                live.apply(now_ns, Note(kind, detail))

    def tick(self, now_ns: int) -> None:
        """Time passed, and a commit comes: what it would leave behind unsaid goes to the markets before."""
        if self._stopped:
            return
        self._hand_all_unsaid(now_ns)
        for live in self._markets.values():
            live.apply(now_ns, Tick())

    def stop(self, now_ns: int, reason: str) -> None:
        """The session ends: nothing is taken from here on."""
        self._hand_all_unsaid(now_ns)
        self._stopped = True
        for live in self._markets.values():
            live.apply(now_ns, SessionStopped(reason))

    def _ask(self, symbol: str, live: LiveMarket) -> None:
        reason = live.market.take_wanted_anchor()
        if reason is not None:
            self._request_anchor(symbol, reason)

    def _take_over(self, now_ns: int, live: LiveMarket, channel: str, handover: Handover) -> None:
        """Lets the silent connection speak. What it said ahead gets the time from which it could be used."""
        frames = handover.take_over(live.market.position(channel))
        live.apply(now_ns, Opened(handover.speaker, [channel]))
        for frame in frames:
            live.message(now_ns, frame.message, frame.text)

    def _hand_all_unsaid(self, now_ns: int) -> None:
        for live in self._markets.values():
            for channel, handover in live.handovers.items():
                self._hand_unsaid(now_ns, live, channel, handover)

    def _hand_unsaid(
        self, now_ns: int, live: LiveMarket, channel: str, handover: Handover, *, ahead: bool = False
    ) -> None:
        """Gives the market what only the silent connection brought, with the time at which that was certain."""
        for frame in handover.take_unsaid(live.market.position(channel), ahead=ahead):
            live.message(now_ns, frame.message, frame.text)

    def _end_handover(self, now_ns: int, live: LiveMarket, channel: str, handover: Handover, closed: Closed) -> None:
        """One of two connections is gone. A market never heard of a new one that has not spoken yet."""
        if closed.connection == handover.speaker:
            if handover.is_seamless(now_ns, live.market.position(channel)):
                self._take_over(now_ns, live, channel, handover)
                live.apply(now_ns, closed)
            else:
                live.apply(now_ns, closed)
                self._take_over(now_ns, live, channel, handover)
        else:
            # The old one may be ahead of the new one, whose repetitions are for the market to tell.
            self._hand_unsaid(now_ns, live, channel, handover, ahead=closed.connection == handover.old)
            if closed.connection == handover.old:
                live.apply(now_ns, closed)
        if closed.connection == handover.old:
            detail = f"{channel}: connection {handover.new} took over from {handover.old}"
            live.apply(now_ns, Note("rotated", f"{detail}; {handover.repeated} messages came on both"))

    def _unknown(self, recv_ns: int, connection: int, text: str | bytes) -> None:
        """A frame that cannot be told apart goes to the market it names, or to one of its connection."""
        raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        named = _SYMBOL.search(raw[:4096])
        symbol = named.group(1).decode("utf-8", "replace") if named else ""
        if symbol not in self._markets:
            symbol = self._by_connection.get(connection, next(iter(self._markets)))
        self._markets[symbol].apply(recv_ns, Verbatim(connection, raw))
        self._ask(symbol, self._markets[symbol])

    def _by_symbol(self, streams: Sequence[Stream]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        if not self._stopped:
            for stream in streams:
                found.setdefault(stream.symbol, []).append(stream_of(stream.channel))
        return found


@cache
def _stream(symbol: str, stream: str) -> Stream:
    """What a frame belongs to, in the feed's words."""
    return Stream(symbol, channel_of(stream), "")
