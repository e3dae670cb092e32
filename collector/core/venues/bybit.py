"""Bybit v5: exact diffs from a stream that brings its own snapshots.

Sources: "Orderbook" and "Trade" among the public topics of Bybit's v5 websocket documentation
(bybit-exchange.github.io/docs/v5/websocket/public/orderbook and …/trade), and, for what `u` promises, "SBE Level 50
Integration" of the same pages. In words:

- `orderbook.N.SYMBOL` begins with a snapshot of the N best levels; then come deltas of absolute sizes, zero removes.
- `u` counts the messages of a topic without holes: a delta's `u` is that of the message before, plus one.
- A snapshot can come at any time, and replaces the book. One with `u` 1 says that the service began to count anew.
- A level that leaves the window of N levels is removed by a delta, so the book is known only as deep as it is now.
- `publicTrade.SYMBOL` brings trades in lists; ids are texts, whole numbers on spot and UUIDs on contracts.

Tables want ids that only rise. When Bybit counts anew, the new count goes on after the old one: an offset, which is
remembered across sessions, is added to every `u`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal, TypeAlias

import msgspec

from collector.core.anchors import Anchor, Request, anchor_of, snapshot_batch
from collector.core.book import Change, compare
from collector.core.decimals import BadNumber, Decimals
from collector.core.decode import DepthUpdate, Id, Message, RestBook, Undecodable
from collector.core.depth import Depth
from collector.core.gaps import GapLedger
from collector.core.inputs import Resume
from collector.core.market import Market
from collector.core.records import Records
from collector.core.sequencer import Sequencer
from collector.core.venues.trades import STREAM, UncountedSequencer, VenueTape, VenueTrade
from collector.core.venues.window import windowed

_RESTARTED_MS = 1000
_SNAPSHOT_REASON = "stream"


class _Levels(msgspec.Struct, gc=False):
    s: str
    b: msgspec.Raw
    a: msgspec.Raw
    u: Id
    seq: Id | None = None


class _BookFrame(msgspec.Struct, gc=False):
    topic: str
    type: Literal["snapshot", "delta"]
    ts: Id
    data: _Levels
    cts: Id | None = None


class _Fill(msgspec.Struct, gc=False):
    T: Id
    s: str
    S: Literal["Buy", "Sell"]
    v: str
    p: str
    i: str


class _TradeFrame(msgspec.Struct, gc=False):
    topic: str
    ts: Id
    data: list[_Fill]


class _Topic(msgspec.Struct):
    topic: str | None = None


class BybitBook(msgspec.Struct, gc=False):
    """A snapshot, or the levels that changed; `levels` is how many the topic tells a side."""

    channel: ClassVar[str] = "depth"

    s: str
    snapshot: bool
    levels: int
    ts: int
    cts: int | None
    u: int
    b: msgspec.Raw
    a: msgspec.Raw


class BybitTrades(msgspec.Struct, gc=False):
    """The trades of one frame, all of one market."""

    channel: ClassVar[str] = STREAM

    s: str
    fills: list[_Fill]


BybitMessage: TypeAlias = BybitBook | BybitTrades

_TOPIC = msgspec.json.Decoder(_Topic)
_BOOK = msgspec.json.Decoder(_BookFrame)
_TRADES = msgspec.json.Decoder(_TradeFrame)


def decode(text: str | bytes) -> BybitMessage:
    """The message in a frame.

    Raises:
        Undecodable: not JSON, a topic that is not collected, or a field missing or of the wrong type.
    """
    try:
        topic = _TOPIC.decode(text).topic
        kind, _, rest = (topic or "").partition(".")
        if kind == "orderbook":
            frame = _BOOK.decode(text)
            depth, _, symbol = rest.partition(".")
            if not (depth.isascii() and depth.isdigit() and symbol == frame.data.s):
                raise Undecodable(f"levels of {frame.data.s[:40]!r} under topic {frame.topic[:60]!r}")
            data = frame.data
            return BybitBook(data.s, frame.type == "snapshot", int(depth), frame.ts, frame.cts, data.u, data.b, data.a)
        if kind == "publicTrade":
            fills = _TRADES.decode(text).data
            if any(fill.s != rest for fill in fills):
                raise Undecodable(f"trades of another market under topic publicTrade.{rest[:40]}")
            return BybitTrades(rest, fills)
    except (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError) as error:
        raise Undecodable(str(error)) from error
    raise Undecodable(f"unknown topic {topic[:60]!r}" if topic else "no topic")


class BybitSequencer(Sequencer):
    """The ids of a depth topic. Deltas are judged like any contiguous stream; snapshots say where to go on."""

    def ident(self, u: int) -> int:
        """The id in tables that stands for `u`."""
        return u + self.position.offset

    def snapshot(self, u: int, event_ms: int, recv_ns: int) -> int | None:
        """The id of a snapshot, which is where the stream now stands; None for one that is older than what we have.

        What lies between the last message and the snapshot is in its levels, but not in any diff: a gap.
        """
        position = self.position
        last, ident = position.last_id, self.ident(u)
        if last is not None and (u == 1 or (ident < last and self._newer(event_ms))):
            position.offset, ident = last + 1 - u, last + 1
        elif last is not None and ident < last:
            return None
        if self.stream in self._ledger.open_gaps:
            self._ledger.close(self.stream, ident, recv_ns)
        elif last is not None and ident > last:
            self._ledger.record(self.stream, "snapshot", last + 1, ident, position.recv_ns, recv_ns, recv_ns)
        self._fresh = False
        position.last_id, position.recv_ns, position.event_ms = ident, recv_ns, event_ms
        return ident

    def _newer(self, event_ms: int) -> bool:
        return self.position.event_ms is None or event_ms > self.position.event_ms + _RESTARTED_MS

    def _counts_anew(self, last_id: int, event_ms: int | None) -> bool:
        return False  # only a snapshot can


class BybitDepth(Depth):
    """Book of a stream that brings its own snapshots: in step from the first one on."""

    def __init__(self, sequencer: BybitSequencer, ledger: GapLedger, records: Records) -> None:
        super().__init__(sequencer, ledger, records, futures=False)
        self._ids = sequencer
        self._levels: int | None = None
        self._asked = True  # no older books are kept: a snapshot stands where the stream stands

    def take(self, recv_ns: int, connection: int, message: BybitBook, text: str | bytes) -> None:
        """One snapshot or delta, in order of receipt."""
        self._levels = message.levels
        if message.snapshot:
            self._snapshot(recv_ns, connection, message, text)
        else:
            self.message(recv_ns, connection, _update(message, self._ids.ident(message.u)), text)

    def _snapshot(self, recv_ns: int, connection: int, message: BybitBook, text: str | bytes) -> None:
        self.settle()
        rest = RestBook(message.u, message.b, message.a, message.ts, message.cts)
        # In decimals of its own, since it may follow on absurd numbers; and before it moves the sequence.
        price, quantity = Decimals(), Decimals()
        try:
            anchor = anchor_of(recv_ns, Request(recv_ns, _SNAPSHOT_REASON, message.levels), rest, price, quantity)
        except BadNumber as error:
            self._records.quarantine(recv_ns, "depth", connection, str(error), text)
            self._lose_step(recv_ns, "quarantine")
            return
        ident = self._ids.snapshot(message.u, message.ts, recv_ns)
        if ident is None:
            self._records.counts["snapshots older"] += 1
            if self.book is None:
                self.wanted = self.wanted or "stale"
            return
        rest.lastUpdateId = ident
        anchor = anchor._replace(book=replace(anchor.book, last_id=ident))
        compared, differing = self._agreement(anchor)
        self._records.add(snapshot_batch(anchor, compared, differing))
        if differing:
            self._records.event(
                recv_ns, "book_differs", stream="depth", detail=f"{differing} of {compared} levels at update {ident}"
            )
        if self.book is None:
            self._records.event(recv_ns, "in_step", stream="depth", detail=f"snapshot at update {ident}")
        self.book = windowed(anchor.book, message.levels)
        self._price, self._quantity = price, quantity
        self._backlog = []
        self._sound_ns = recv_ns
        self.wanted = None
        self.last_message, self.last_recv_ns = _update(message, ident), recv_ns

    def _agreement(self, anchor: Anchor) -> tuple[int | None, int | None]:
        """Levels compared and differing, where our book stands at the snapshot's update."""
        if self.book is None or self.book.last_id != anchor.update_id:
            return None, None
        ours, theirs = self.book, anchor.book
        places = max(ours.price_places, theirs.price_places), max(ours.quantity_places, theirs.quantity_places)
        empty = ours.bids.price[:0]
        return compare(ours.at_places(*places), theirs.at_places(*places), Change(empty, empty, empty, empty))

    def settle(self) -> None:
        super().settle()
        if self.book is not None and self._levels is not None:
            self.book = windowed(self.book, self._levels)


class BybitMarket(Market):
    """The state of such a market in one session."""

    def message(self, recv_ns: int, message: Message | BybitMessage, text: str | bytes) -> None:
        if not isinstance(message, BybitBook | BybitTrades):
            raise TypeError(f"a message of Binance for {self.session.exchange}")
        self._advance(recv_ns)
        connection = self._connections.get(message.channel) or 0
        if isinstance(message, BybitBook):
            self._book.take(recv_ns, connection, message, text)
            return
        for fill in message.fills:
            self._trades.take(VenueTrade(recv_ns, connection, fill.i, fill.T, fill.p, fill.v, fill.S == "Sell", text))

    def _settle(self) -> None:
        super()._settle()
        self._trades.settle()

    def _build(self, resume: Resume) -> None:
        depth = BybitSequencer("depth", self._ledger, resume.positions.get("depth"))
        trades = UncountedSequencer(STREAM, self._ledger, resume.positions.get(STREAM))
        self._sequencers = {"depth": depth, STREAM: trades}
        self._depth = self._book = BybitDepth(depth, self._ledger, self._records)
        self._tapes = {}
        self._trades = VenueTape(trades, self._ledger, self._records)

    def _verbatim(self, recv_ns: int, connection: int, text: bytes) -> None:
        try:
            message = decode(text)
            if message.s != self.session.symbol:
                raise Undecodable(f"of another market, {message.s[:40]!r}")
        except Undecodable as error:
            self._records.quarantine(recv_ns, None, connection, str(error), text)
        else:
            self.message(recv_ns, message, text)


def _update(message: BybitBook, ident: int) -> DepthUpdate:
    return DepthUpdate(E=message.ts, s=message.s, U=ident, u=ident, b=message.b, a=message.a, T=message.cts)
