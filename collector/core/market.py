"""One market: inputs with their times in, rows out. The same object runs live and in replay."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from collector.core.anchors import Request
from collector.core.batch import Batch, joined
from collector.core.buckets import Grid
from collector.core.computed import Computed
from collector.core.decode import DepthUpdate, Message, Undecodable, decode
from collector.core.depth import Depth
from collector.core.depth_rows import DepthRows, EpochRow, Standing, crossed, standing
from collector.core.entry import Entry, fetched_entries
from collector.core.epochs import SECOND_NS, Epochs
from collector.core.flow import EpochConsumer
from collector.core.forecasts import RowModel
from collector.core.gaps import Gap, GapLedger, Unfilled
from collector.core.grid import BookGrid
from collector.core.history import history_batch, history_detail
from collector.core.inputs import (
    AnchorArrived,
    AnchorRequested,
    AvwapAnchor,
    Closed,
    CollectorInput,
    HealingEnded,
    History,
    Note,
    Opened,
    Polled,
    Refused,
    RestTrades,
    Resume,
    SessionStarted,
    SessionStopped,
    Tick,
    Verbatim,
)
from collector.core.polls import Polls
from collector.core.records import Records, rows_batch
from collector.core.sequencer import Position, Sequencer
from collector.core.tapes import KINDS, Tape, open_tape

FETCHED_AFTERWARDS = ("trades", "raw_trades")
"""Streams whose gaps may be filled by REST."""


class Market:
    """The state of one market in one session.

    Call `message`, `anchor` and `apply` in the order of receipt, with the stamps of receipt. Rows come out of
    `drain`; their content depends on nothing but those inputs. Inputs are taken as they come: nothing that an
    exchange sends raises here.
    """

    _sequencers: dict[str, Sequencer]
    _tapes: dict[str, Tape]

    def __init__(self, start_ns: int, session: SessionStarted) -> None:
        resume = session.resume or Resume()
        self.session = session
        self._now_ns = start_ns
        self._stale_after_ns = session.stale_after_s * SECOND_NS
        grid = Grid(session.step, session.steps, "mid" if session.reference == "mid" else "best")
        self._depth_rows = DepthRows(grid, self._stale_after_ns)
        self._epochs = Epochs(session.interval_s, start_ns, resume.last_epoch)
        self._last_epoch = resume.last_epoch
        self._records = Records(resume.last_ns, resume.events)
        self._ledger = GapLedger(resume.open_gaps, resume.unfilled)
        self._connections: dict[str, int | None] = {}
        self._opened_ns: dict[str, int] = {}
        self._request: AnchorArrived | None = None
        self._build(resume)
        # Streams of which nothing can be said to be missing, since nothing ever came: they were not connected yet, or
        # only in the epoch that runs.
        self._unheard = {name for name in session.channels if not self._sequencers[name].position.recv_ns}
        self._new: set[str] = set()
        self._computed = Computed(session, self._records, self._ledger)
        self._grid: BookGrid | None = None
        if session.book_grid_ms is not None:
            tell = self._records.tell
            self._grid = BookGrid(session.book_grid_ms, session.book_depth, start_ns, self._stale_after_ns, tell)
        self._polls = Polls(self._records, self._ledger)
        self._set_due()
        self._records.event(start_ns, "session_started", detail=f"{session.exchange} {session.symbol}")
        if resume.last_epoch is not None and start_ns < resume.last_epoch * SECOND_NS:
            self._records.event(
                start_ns,
                "clock_behind",
                detail=f"rows up to epoch {resume.last_epoch} are written already; the next one follows them",
            )
        for channel in session.channels:
            self._sequencers[channel].lost("restart", start_ns)
            if channel in self._unheard and channel in resume.unheard:  # its first messages of all may have come since
                since_ns = resume.silent_ns.get(channel, resume.last_ns)
                self._ledger.open(channel, "restart", None, since_ns, start_ns)

    def _build(self, resume: Resume) -> None:
        """Makes what reads the streams: sequencers, book and tapes."""
        depth = Sequencer("depth", self._ledger, resume.positions.get("depth"))
        self._sequencers = {"depth": depth}
        self._depth = Depth(depth, self._ledger, self._records, futures=self.session.futures)
        self._tapes = {}
        known = [name for name in resume.positions if name != "depth"]
        for stream in dict.fromkeys([*(kind.table for kind in KINDS), *known, *self.session.channels]):
            if stream != "depth":
                self._open_tape(stream, resume.positions.get(stream))

    def _open_tape(self, stream: str, position: Position | None = None) -> None:
        self._sequencers[stream], self._tapes[stream] = open_tape(stream, self._ledger, self._records, position)

    def add_consumer(self, consumer: EpochConsumer) -> None:
        """Lets `consumer` compute rows from each epoch, from the one that runs on."""
        self._computed.add(consumer)

    def use_model(self, model: RowModel) -> None:
        """Lets `model` forecast at each row of its table. Call it before the first input, with a model of its own."""
        self._computed.use_model(model, self._grid)
        self._records.event(self._now_ns, "model", detail=f"{model.fingerprint}, on rows of {model.table}")

    def watch_book(self, applied: Callable[[int], object] | None) -> None:
        """Lets `applied` know whenever messages have reached the book together: of the receipt (ns) of the oldest."""
        self._depth.on_applied = applied

    @property
    def latest(self) -> EpochRow | None:
        """The newest epoch; None before the first."""
        return self._depth_rows.latest

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

    @property
    def wants_history(self) -> set[int]:
        """Lengths (s) of the bars whose past features lack."""
        return self._computed.wants_history

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

    def unfilled(self) -> list[Unfilled]:
        """The gaps of trades that are over and that `RestTrades` may still fill, oldest first in each stream."""
        return self._ledger.unfilled(FETCHED_AFTERWARDS)

    def message(self, recv_ns: int, message: Message, text: str | bytes) -> None:
        """One decoded message, with the frame it came in. Its channel was `Opened` before."""
        if self._now_ns < recv_ns < self._due_ns:
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
            case Verbatim(connection, text):
                self._verbatim(recv_ns, connection, text)
            case Refused():
                self._refused(recv_ns, happened)
            case Note(kind, detail):
                self._records.event(recv_ns, kind, detail=detail)
            case SessionStopped(reason):
                self._depth.finish()
                self._records.event(recv_ns, "session_stopped", detail=reason)
            case Tick() | SessionStarted():
                pass
            case _:
                self._asked_for(recv_ns, happened)

    def _asked_for(self, recv_ns: int, happened: CollectorInput) -> None:
        """What somebody asked for: requests, and their answers."""
        match happened:
            case AnchorRequested():
                self._depth.anchor_requested(recv_ns)
            case AnchorArrived():
                self._request = happened
            case RestTrades(channel, rows):
                self._fetched(recv_ns, channel, rows)
            case HealingEnded(channel, gap_id, reason):
                self._ledger.give_up(channel, gap_id)
                self._records.event(recv_ns, "not_healed", stream=channel, detail=f"gap {gap_id}: {reason}")
            case Polled():
                self._polls.take(recv_ns, happened, self.session.symbol)
            case History():
                self._history(recv_ns, happened)
            case AvwapAnchor():
                self._records.event(recv_ns, "avwap_anchor", detail=happened.mode)
                self._computed.hear(happened)

    def _refused(self, recv_ns: int, refused: Refused) -> None:
        stream, reason = refused.stream, refused.reason
        self._records.event(recv_ns, "refused", stream=stream, detail=reason)
        self._ledger.record(stream, reason, refused.from_id, refused.to_id, refused.from_ns, refused.to_ns, recv_ns)
        if stream in ("depth", "snapshots"):  # what is stored needs an anchor to go on from
            self._depth.wanted = self._depth.wanted or "refused"

    def drain(self) -> list[Batch]:
        """All rows since the last drain. What is drained and `resume` belong together: keep both or neither."""
        self._settle()
        batches = self._records.drain() + self._depth_rows.drain()
        if self._grid is not None:
            batches += self._grid.drain()
        batches += self._computed.drain()
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
            self.unfilled(),
            self._records.events_at(self._now_ns),
            silent_ns={
                channel: opened_ns
                for channel, opened_ns in self._opened_ns.items()
                if self._connections[channel] is not None and not self._sequencers[channel].position.recv_ns
            },
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

    def _fetched(self, recv_ns: int, channel: str, body: msgspec.Raw) -> None:
        entries, unreadable = fetched_entries(recv_ns, channel, self.session.symbol, body)
        for text, error in unreadable:
            self._records.quarantine(recv_ns, channel, None, error, text)
        for entry in entries:
            self._tapes[channel].fetched(entry)

    def _opened(self, recv_ns: int, connection: int, channels: list[str]) -> None:
        self._records.event(recv_ns, "opened", connection=connection, detail=", ".join(channels))
        for channel in channels:
            self._connections[channel], self._opened_ns[channel] = connection, recv_ns
            if channel not in self._sequencers:  # in a capture of others, which announces nothing
                self._open_tape(channel)
            if not self._sequencers[channel].position.recv_ns:
                self._ledger.close(channel, None, recv_ns)  # nothing was there before that could tell where it goes on
        self._new |= self._unheard.intersection(channels)
        self._unheard.difference_update(channels)
        if "depth" in channels and self._depth.book is None:
            self._depth.wanted = self._depth.wanted or "first"

    def _closed(self, recv_ns: int, connection: int, channels: list[str], reason: str) -> None:
        self._records.event(recv_ns, "closed", connection=connection, detail=f"{', '.join(channels)}: {reason}")
        for channel in channels:
            if self._connections.get(channel) == connection:
                self._connections[channel] = None
                why = "delisted" if reason == "delisted" else "disconnect"
                sequencer = self._sequencers[channel]
                sequencer.lost(why, recv_ns)
                if not sequencer.position.recv_ns:  # its first messages of all may have been on their way
                    self._ledger.open(channel, why, None, self._opened_ns[channel], recv_ns)

    def _advance(self, now_ns: int) -> None:
        """Ends the epochs that are over before an input at `now_ns`."""
        if now_ns <= self._now_ns:
            self._settle()  # so that events of one time are numbered in the order of the inputs
        self._now_ns = max(self._now_ns, now_ns)
        if now_ns < self._due_ns:
            return
        ended = self._epochs.ended(now_ns)
        self._reach(ended[0] * SECOND_NS if ended else now_ns)
        if ended:
            self._end(ended)
            self._reach(now_ns)
        self._set_due()

    def _set_due(self) -> None:
        """When the next epoch ends, or the next point of the grid is reached."""
        self._due_ns = self._epochs.end_ns
        if self._grid is not None:
            self._due_ns = min(self._due_ns, self._grid.next_ns)

    def _reach(self, now_ns: int) -> None:
        if self._grid is not None and now_ns >= self._grid.next_ns:
            self._depth.settle()
            self._grid.reach(now_ns, self._standing())

    def _standing(self) -> Standing:
        sound = self._connections.get("depth") is not None and "depth" not in self._ledger.open_gaps
        return standing(self._depth, sound=sound)

    def _end(self, ended: range) -> None:
        """Ends epochs, between which nothing came."""
        self._check_book(ended[0] * SECOND_NS)
        now = self._standing()
        self._depth_rows.add(ended, now)
        self._last_epoch = ended[-1]
        self._computed.depth_rows(ended, now, self.latest)
        if self._computed.needs_flow:
            self._settle()
            self._computed.consume(ended, now, self._event_ms(), self._unheard, self._new)
        self._ledger.touched.clear()
        self._new.clear()

    def _history(self, recv_ns: int, history: History) -> None:
        """Stores the klines too: with the event they say what features started from."""
        if history.klines:
            self._records.add(history_batch(recv_ns, history))
        self._records.event(recv_ns, "history", stream="klines", detail=history_detail(history))
        self._computed.hear(history)

    def _check_book(self, at_ns: int) -> None:
        """Lets go of a book that shows itself to be wrong, and asks for more where its best is not known."""
        depth = self._depth
        depth.settle()
        book = depth.book
        if book is not None and crossed(book):
            depth.wrong(at_ns, "crossed")
        elif book is not None and not book.known_to_its_best:
            depth.wanted = depth.wanted or "beyond known depth"

    def _event_ms(self) -> int | None:
        told = [self._depth.event_ms, *(one.position.event_ms for one in self._sequencers.values())]
        return max((one for one in told if one is not None), default=None)
