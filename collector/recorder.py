"""From a feed's calls to markets: routing by symbol, every input into the capture first, no market in another's way."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from collector.core.batch import Batch, Column
from collector.core.channels import channel_of, stream_of
from collector.core.decode import Message, PartialDepth, Undecodable, decode, decode_rest_book
from collector.core.forecasts import RowModel
from collector.core.inputs import (
    AnchorArrived,
    AnchorRequested,
    Closed,
    CollectorInput,
    HealingEnded,
    Note,
    Opened,
    Polled,
    RestTrades,
    Resume,
    SessionStarted,
    SessionStopped,
    Tick,
    Verbatim,
    encode_input,
)
from collector.core.market import Market
from collector.core.venues.open import Decoder, open_market
from collector.handover import Handover
from collector.refusals import BY_BACKEND
from collector.sources.capture_writer import CaptureWriter
from collector.sources.feed import Stream
from collector.sources.healing import Lacking
from collector.sources.markets import MarketInfo

log = logging.getLogger(__name__)

_SYMBOL = re.compile(rb'"s"\s*:\s*"([^"\\]{1,64})"')


class LiveMarket:
    """One market while it runs, with its capture when there is one."""

    def __init__(
        self,
        session: SessionStarted,
        name: str,
        streams: dict[str, str],
        start_ns: int,
        capture: CaptureWriter | None,
        model: Callable[[SessionStarted], RowModel] | None = None,
    ) -> None:
        """`model` opens the one that the session names, anew for each session."""
        self.name = name
        self.process_rows: list[Batch] = []
        """Rows that tell of the process, such as `clock`: no replay gives them."""
        self.on_message: Callable[[int, Message], object] | None = None
        self._on_book: Callable[[int], object] | None = None
        self._session = session
        self._rows: list[Batch] = []  # of a market that failed
        self.remembered = msgspec.json.encode(session.resume or Resume(last_ns=start_ns, unheard=session.channels))
        """What a next session needs beside the rows drained so far, as JSON of a `Resume`."""
        self.handovers: dict[str, Handover] = {}
        """Of each stream that two connections carry."""
        self._streams = streams
        self._capture = capture
        self._model = model
        self.market = self._begin(start_ns, session)

    def message(self, recv_ns: int, message: Message, text: str | bytes) -> None:
        """Hands one decoded frame to the market."""
        payload = message.payload if isinstance(message, PartialDepth) else text
        if self._capture is not None:
            try:
                self._capture.write(recv_ns, self._streams[message.channel], payload)
            except OSError as error:
                self._stop_capture(recv_ns, error)
            except (ValueError, KeyError):  # of a form, or of a stream, that a capture line does not have
                raw = text.encode() if isinstance(text, str) else text
                self.apply(recv_ns, Verbatim(self.market.connection(message.channel) or 0, raw))
                return
        try:
            self.market.message(recv_ns, message, payload)
        except Exception as error:  # noqa: BLE001  a bug in one market must not reach the others
            self._begin_anew(recv_ns, error)
        if self.on_message is not None:
            try:
                self.on_message(recv_ns, message)
            except Exception:  # who looks on must not end the collection
                log.exception("%s: messages are not handed on any more", self.name)
                self.on_message = None

    def anchor(self, recv_ns: int, text: bytes) -> None:
        """Hands a snapshot to the market; what a capture line cannot hold goes there as `Verbatim`."""
        try:
            text = text.strip()
            decode_rest_book(text)
            if self._capture is not None:
                self._capture.write_snapshot(recv_ns, text)
        except OSError as error:
            self._stop_capture(recv_ns, error)
        except ValueError:
            self.apply(recv_ns, Verbatim(0, text))
            return
        try:
            self.market.anchor(recv_ns, text)
        except Exception as error:  # noqa: BLE001  a bug in one market must not reach the others
            self._begin_anew(recv_ns, error)

    def apply(self, recv_ns: int, happened: CollectorInput) -> None:
        """Hands anything else to the market."""
        self._write(recv_ns, happened)
        try:
            self.market.apply(recv_ns, happened)
        except Exception as error:  # noqa: BLE001  a bug in one market must not reach the others
            self._begin_anew(recv_ns, error)

    def watch_book(self, applied: Callable[[int], object]) -> None:
        """As `Market.watch_book`, also for the market that replaces one that failed. `applied` must not raise."""
        self._on_book = applied
        self.market.watch_book(applied)

    @property
    def capture_path(self) -> Path | None:
        """The file that the capture is being written to."""
        return None if self._capture is None else self._capture.open_path

    def drain(self) -> list[Batch]:
        """All rows since the last drain, to be committed. The capture holds their inputs before that."""
        if self._capture is not None:
            try:
                self._capture.flush()
            except OSError as error:
                self._stop_capture(self.market.resume().last_ns, error)
        try:
            self._drain()
        except Exception as error:  # noqa: BLE001  a bug in one market must not reach the others
            self._begin_anew(self.market.resume().last_ns, error, while_draining=True)
        rows, self._rows = self.process_rows + self._rows, []
        self.process_rows = []
        return rows

    def close(self) -> None:
        """Ends the capture."""
        if self._capture is not None:
            try:
                self._capture.close()
            except OSError as error:
                log.warning("the capture of %s is cut short: %s", self.name, error)

    def _begin(self, start_ns: int, session: SessionStarted) -> Market:
        self._write(start_ns, session)
        market = open_market(start_ns, session, None if self._model is None else self._model(session))
        market.watch_book(self._on_book)
        return market

    def _drain(self) -> None:
        """Rows and what is remembered, both or neither."""
        self._rows += self.market.drain()
        resume = self.market.resume()
        for channel, handover in self.handovers.items():
            held_ns = handover.held_since_ns(self.market.position(channel))
            if held_ns is not None and channel in resume.positions:
                # What waits is lost if the process dies now: the gap that a next session begins with must hold it.
                position = resume.positions[channel]
                since = msgspec.structs.replace(position, recv_ns=min(position.recv_ns, held_ns))
                resume.positions[channel] = since
        resume.unheard = tuple(channel for channel in self._session.channels if channel not in resume.positions)
        self.remembered = msgspec.json.encode(resume)

    def _begin_anew(self, recv_ns: int, error: Exception, *, while_draining: bool = False) -> None:
        """A fault of ours in this market must not end the others: it starts again from what it remembers.

        Rows that it cannot give any more lie in the gap since the last drain.
        """
        log.error("%s failed and begins anew", self.name, exc_info=error)
        try:
            if while_draining:  # what it gave is gone, and it would remember more than what it gives now
                raise error
            self._drain()
        except Exception as again:  # noqa: BLE001  then the last drain counts
            log.warning("%s lost its rows since the last drain, which will be a gap: %s", self.name, again)
        resume = msgspec.json.decode(self.remembered, type=Resume)
        session = msgspec.structs.replace(self._session, resume=resume)
        self.market = self._begin(recv_ns, session)
        self.apply(recv_ns, Note("internal_error", repr(error)))

    def _write(self, recv_ns: int, happened: CollectorInput) -> None:
        if self._capture is not None:
            try:
                self._capture.write_collector(recv_ns, encode_input(happened))
            except OSError as error:
                self._stop_capture(recv_ns, error)

    def _stop_capture(self, recv_ns: int, error: OSError) -> None:
        log.error("the capture of %s ends here: %s", self.name, error)
        self._capture = None
        self.apply(recv_ns, Note("capture_ended", str(error)))


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
