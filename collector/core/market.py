"""One market: inputs with their times in, rows out. The same object runs live and in replay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np

from collector.core.anchors import Request
from collector.core.batch import Batch, Nested, joined
from collector.core.book import Book
from collector.core.buckets import Buckets, Grid, ask_buckets, bid_buckets
from collector.core.decode import DepthUpdate, Message, Undecodable, decode
from collector.core.depth import Depth
from collector.core.epochs import SECOND_NS, Epochs
from collector.core.gaps import Gap, GapLedger
from collector.core.inputs import (
    AnchorArrived,
    AnchorRequested,
    Closed,
    CollectorInput,
    Note,
    Opened,
    Refused,
    Resume,
    SessionStarted,
    SessionStopped,
    Tick,
    Verbatim,
)
from collector.core.records import Records, rows_batch
from collector.core.sequencer import Sequencer
from collector.core.tapes import KINDS, Entry, Tape

_DEPTH_ROW = (
    "epoch",
    "best_bid",
    "best_ask",
    "price",
    "step_pct",
    "num_steps",
    "ref",
    "bid_coverage",
    "ask_coverage",
    "last_update_id",
    "event_time",
    "recv_ns",
    "book_age_ms",
    "valid",
)


class EpochRow(NamedTuple):
    """The newest epoch in short, for whoever shows it."""

    epoch: int
    best_bid: float | None
    best_ask: float | None
    bids: Buckets | None
    asks: Buckets | None
    valid: bool

    @property
    def bid_sum(self) -> float:
        """What the known buckets of the bids hold, in quote currency."""
        return _total(self.bids)

    @property
    def ask_sum(self) -> float:
        """What the known buckets of the asks hold, in quote currency."""
        return _total(self.asks)


class Market:
    """The state of one market in one session.

    Call `message`, `anchor` and `apply` in the order of receipt, with the stamps of receipt. Rows come out of
    `drain`; their content depends on nothing but those inputs. Inputs are taken as they come: nothing that an
    exchange sends raises here.
    """

    def __init__(self, start_ns: int, session: SessionStarted) -> None:
        resume = session.resume or Resume()
        self.session = session
        self.latest: EpochRow | None = None
        self._now_ns = start_ns
        self._grid = Grid(session.step, session.steps, "mid" if session.reference == "mid" else "best")
        self._epochs = Epochs(session.interval_s, start_ns, resume.last_epoch)
        self._last_epoch = resume.last_epoch
        self._records = Records()
        self._ledger = GapLedger(resume.open_gaps)
        self._connections: dict[str, int | None] = {}
        self._depth_rows: list[tuple[Any, ...]] = []
        self._depth_buckets: list[tuple[Buckets | None, Buckets | None]] = []
        self._request: AnchorArrived | None = None
        self._build(resume)
        self._records.event(start_ns, "session_started", detail=f"{session.exchange} {session.symbol}")
        if resume.last_epoch is not None and start_ns < resume.last_epoch * SECOND_NS:
            self._records.event(
                start_ns,
                "clock_behind",
                detail=f"rows up to epoch {resume.last_epoch} are written already; the next one follows them",
            )
        for channel in session.channels:
            self._sequencers[channel].lost("restart", start_ns)

    def _build(self, resume: Resume) -> None:
        """Makes what reads the streams: sequencers, book and tapes."""
        self._sequencers: Mapping[str, Sequencer] = {
            name: Sequencer(name, self._ledger, resume.positions.get(name), contiguous=contiguous)
            for name, contiguous in [("depth", True), *((kind.table, kind.contiguous) for kind in KINDS)]
        }
        self._depth = Depth(self._sequencers["depth"], self._ledger, self._records, futures=self.session.futures)
        self._tapes = {
            kind.table: Tape(kind, self._sequencers[kind.table], self._ledger, self._records) for kind in KINDS
        }

    @property
    def counts(self) -> dict[str, int]:
        """Events and duplicates so far, by kind."""
        return dict(self._records.counts)

    @property
    def in_step(self) -> bool:
        """Whether the book follows the exchange's."""
        return self._depth.book is not None

    @property
    def known_to_its_best(self) -> bool:
        """Whether the book's best prices lie within what an anchor covered; False without a book."""
        book = self._depth.book
        return book is not None and book.known_to_its_best

    @property
    def open_gaps(self) -> frozenset[str]:
        """The streams with a gap that has not ended."""
        return frozenset(self._ledger.open_gaps)

    def take_wanted_anchor(self) -> str | None:
        """The reason for a snapshot that is needed now, once; None when none is."""
        wanted = self._depth.wanted
        if wanted is not None:
            self._depth.wanted = None
        return wanted

    def connection(self, channel: str) -> int | None:
        """The connection that carries a channel; None while it has none."""
        return self._connections.get(channel)

    def position(self, channel: str) -> int | None:
        """The last id taken of a channel; None before the first."""
        return self._sequencers[channel].position.last_id

    def message(self, recv_ns: int, message: Message, text: str | bytes) -> None:
        """One decoded message, with the frame it came in. Its channel was `Opened` before."""
        if self._now_ns < recv_ns < self._epochs.end_ns:
            self._now_ns = recv_ns
        else:
            self._advance(recv_ns)
        channel = message.channel
        connection = self._connections.get(channel) or 0
        if isinstance(message, DepthUpdate):
            try:
                self._depth.message(recv_ns, connection, message, text)
            except Undecodable as error:
                self._records.quarantine(recv_ns, channel, connection, str(error), text)
        else:
            self._tapes[channel].message(Entry(recv_ns, connection, message, text))

    def anchor(self, recv_ns: int, text: bytes) -> None:
        """The body of a REST snapshot; how it was asked for came right before, as `AnchorArrived`, if it is known."""
        self._advance(recv_ns)
        asked, self._request = self._request, None
        if asked is None:
            request = Request(recv_ns, "capture", None)
        else:
            request = Request(asked.requested_ns, asked.reason, asked.limit)
        self._depth.anchor(recv_ns, request, text)

    def apply(self, recv_ns: int, happened: CollectorInput) -> None:
        """Anything that reaches the market besides messages and snapshots."""
        self._advance(recv_ns)
        match happened:
            case Opened(connection, channels):
                self._opened(recv_ns, connection, channels)
            case Closed(connection, channels, reason):
                self._closed(recv_ns, connection, channels, reason)
            case AnchorRequested():
                self._depth.anchor_requested(recv_ns)
            case AnchorArrived():
                self._request = happened
            case Verbatim(connection, text):
                self._verbatim(recv_ns, connection, text)
            case Refused():
                self._records.event(recv_ns, "refused", stream=happened.stream, detail=happened.reason)
                self._ledger.record(
                    happened.stream,
                    happened.reason,
                    happened.from_id,
                    happened.to_id,
                    happened.from_ns,
                    happened.to_ns,
                    recv_ns,
                )
                if happened.stream in ("depth", "snapshots"):  # what is stored needs an anchor to go on from
                    self._depth.wanted = self._depth.wanted or "refused"
            case Note(kind, detail):
                self._records.event(recv_ns, kind, detail=detail)
            case SessionStopped(reason):
                self._depth.finish()
                self._records.event(recv_ns, "session_stopped", detail=reason)
            case Tick() | SessionStarted():
                pass

    def drain(self) -> list[Batch]:
        """All rows since the last drain. What is drained and `resume` belong together: keep both or neither."""
        self._settle()
        batches = self._records.drain()
        if self._depth_rows:
            batches.append(_depth_batch(self._depth_rows, self._depth_buckets))
            self._depth_rows, self._depth_buckets = [], []
        if self._ledger.rows:
            rows = [msgspec.structs.astuple(row) for row in self._ledger.rows]
            batches.append(rows_batch("gaps", Gap.__struct_fields__, rows))
            self._ledger.rows = []
        return joined(batches)

    def resume(self) -> Resume:
        """What the next session needs, as of the last drain."""
        return Resume(
            {name: sequencer.position for name, sequencer in self._sequencers.items() if sequencer.position.recv_ns},
            self._ledger.open_gaps,
            self._last_epoch,
            self._now_ns,
        )

    def _settle(self) -> None:
        self._depth.settle()
        for tape in self._tapes.values():
            tape.settle()

    def _verbatim(self, recv_ns: int, connection: int, text: bytes) -> None:
        if self._request is not None:
            self.anchor(recv_ns, text)
            return
        try:
            message = decode(text)
            if message.s != self.session.symbol:
                raise Undecodable(f"of another market, {message.s[:40]!r}")
        except Undecodable as error:
            self._records.quarantine(recv_ns, None, connection, str(error), text)
        else:
            self.message(recv_ns, message, text)

    def _opened(self, recv_ns: int, connection: int, channels: list[str]) -> None:
        self._records.event(recv_ns, "opened", connection=connection, detail=", ".join(channels))
        for channel in channels:
            self._connections[channel] = connection
        if "depth" in channels and self._depth.book is None:
            self._depth.wanted = self._depth.wanted or "first"

    def _closed(self, recv_ns: int, connection: int, channels: list[str], reason: str) -> None:
        self._records.event(recv_ns, "closed", connection=connection, detail=f"{', '.join(channels)}: {reason}")
        for channel in channels:
            if self._connections.get(channel) == connection:
                self._connections[channel] = None
                self._sequencers[channel].lost("delisted" if reason == "delisted" else "disconnect", recv_ns)

    def _advance(self, now_ns: int) -> None:
        """Ends the epochs that are over before an input at `now_ns`."""
        if now_ns <= self._now_ns:
            self._settle()  # so that events of one time are numbered in the order of the inputs
        self._now_ns = max(self._now_ns, now_ns)
        ended = self._epochs.ended(now_ns)
        if not ended:
            return
        depth = self._depth
        depth.settle()
        book = depth.book
        if book is not None and _crossed(book):
            depth.wrong(ended[0] * SECOND_NS, "crossed")
        elif book is not None and not book.known_to_its_best:
            depth.wanted = depth.wanted or "beyond known depth"
        book = depth.book
        grid = self._grid
        bids, asks = (None, None) if book is None else (bid_buckets(book, grid), ask_buckets(book, grid))
        unit = 1.0 if book is None else float(10**book.price_places)
        best_bid = book.best_bid / unit if book is not None and book.best_bid is not None else None
        best_ask = book.best_ask / unit if book is not None and book.best_ask is not None else None
        mid = None if best_bid is None or best_ask is None else (best_bid + best_ask) / 2
        in_step = (
            book is not None
            and book.known_to_its_best
            and self._connections.get("depth") is not None
            and "depth" not in self._ledger.open_gaps
        )
        for epoch in ended:
            age_ns = None if depth.last_recv_ns is None else epoch * SECOND_NS - depth.last_recv_ns
            valid = in_step and age_ns is not None and age_ns <= self.session.stale_after_s * SECOND_NS
            self._depth_rows.append(
                (
                    epoch,
                    best_bid,
                    best_ask,
                    mid,
                    grid.step,
                    grid.steps,
                    grid.reference,
                    None if bids is None else bids.coverage,
                    None if asks is None else asks.coverage,
                    depth.last_id,
                    depth.event_ms,
                    depth.last_recv_ns,
                    None if age_ns is None else age_ns // 1_000_000,
                    valid,
                )
            )
            self._depth_buckets.append((bids, asks))
        self._last_epoch = ended[-1]
        self.latest = EpochRow(ended[-1], best_bid, best_ask, bids, asks, valid)


def _crossed(book: Book) -> bool:
    return book.best_bid is not None and book.best_ask is not None and book.best_bid >= book.best_ask


def _total(buckets: Buckets | None) -> float:
    if buckets is None:
        return 0.0
    values = buckets.values
    return float(values[~np.isnan(values)].sum(dtype=np.float64))


def _depth_batch(rows: list[tuple[Any, ...]], buckets: list[tuple[Buckets | None, Buckets | None]]) -> Batch:
    columns = rows_batch("depth", _DEPTH_ROW, rows).columns
    bids, asks = zip(*buckets, strict=True)
    return Batch("depth", {**columns, "bid_buckets": _nested(bids), "ask_buckets": _nested(asks)})


def _nested(sides: tuple[Buckets | None, ...]) -> Nested:
    counts = np.array([-1 if side is None else len(side.values) for side in sides], np.int32)
    values = [side.values for side in sides if side is not None]
    return Nested(counts, np.concatenate(values) if values else np.empty(0, np.float32))
