"""Features again, from what is stored: the values that a live run of the same features gave, bit for bit.

Every session is gone through from its start, since most features remember all that came after the last gap. What an
epoch knew is found in the store: books from anchors and diffs up to the update that the epoch's row in `depth` names;
messages by their time of receipt; gaps by when they were stated. Two limits: messages of one nanosecond are put in the
order of their ids, and the known depth of a book may be that of an anchor which was a moment later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, NamedTuple

from collector.audit.rebuild import Step, Units, read_anchors, read_diffs, rebuild
from collector.core.batch import Batch
from collector.core.book import Book
from collector.core.epochs import SECOND_NS
from collector.core.features.across import NAME, SPOT_OF, Quoted, basis_bps
from collector.core.features.engine import FeatureEngine
from collector.core.features.registry import FeatureSet
from collector.core.flow import EpochFlow, Liquidations, Quotes, Trades
from collector.core.history import length_of
from collector.core.inputs import AvwapAnchor, History, Kline
from collector.features.columns import StoredColumns, read_marks
from collector.features.sessions import Happened, Session, StreamGaps, read_revisions, read_sessions
from storage_backends.interface import Backend, Market

_CLOCKS_NS = 60 * SECOND_NS
_DEPTH = ("epoch", "last_update_id", "recv_ns", "price", "book_age_ms", "valid")
_KLINE = (
    "open_time", "interval", "source", "open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume",
    "taker_buy_quote_volume", "trades",
)  # fmt: skip


class _Span(NamedTuple):
    """A session or a part of it, and the seconds between its epochs."""

    from_ns: int
    until_ns: int
    interval_s: int


@dataclass(frozen=True, slots=True)
class _Epoch:
    epoch: int
    last_id: int | None
    recv_ns: int | None
    quoted: Quoted


def recompute(
    backend: Backend, market: Market, chosen: FeatureSet, start_ns: int, end_ns: int, run_up_s: int | None = None
) -> Iterator[Batch]:
    """Rows of table `features` for the epochs in [start_ns, end_ns) that are stored in `depth`.

    With `run_up_s`, a session is read from that long before `start_ns` at the earliest. Then features with a longer
    memory (`Feature.memory_s`) may differ from what live gave, or be null.

    Raises:
        BackendError: the store cannot be read.
    """
    sessions = read_sessions(backend, market, end_ns)
    revisions = read_revisions(backend, market)
    with_basis = any(one.across for one in chosen.features)
    for number, session in enumerate(sessions):
        until_ns = min(end_ns, sessions[number + 1].start_ns if number + 1 < len(sessions) else end_ns)
        if until_ns <= start_ns:
            continue
        from_ns = session.start_ns if run_up_s is None else max(session.start_ns, start_ns - run_up_s * SECOND_NS)
        epochs = _read_epochs(backend, market, from_ns, until_ns)
        first = list(islice(epochs, 2))
        if not first:
            continue
        interval_s = first[1].epoch - first[0].epoch if len(first) > 1 else 1
        span = _Span(from_ns, until_ns, interval_s)
        engine = FeatureEngine(chosen, interval_s, session.streams)
        spot = _Spot(backend, market, span)
        for row, flow in _flows(backend, market, session, revisions, chain(first, epochs), span, engine):
            values = engine.take(flow)
            if flow.epoch * SECOND_NS < start_ns:
                continue
            for batch in values:
                basis = {NAME: [basis_bps(row.quoted, spot.at(row.epoch))]} if with_basis else {}
                yield Batch(batch.table, {**batch.columns, **basis})


def _read_epochs(backend: Backend, market: Market, start_ns: int, end_ns: int) -> Iterator[_Epoch]:
    for rows in backend.scan("depth", market, start_ns, end_ns, _DEPTH):
        columns = (rows.column(name).to_pylist() for name in _DEPTH)
        for epoch, last_id, recv_ns, price, age_ms, valid in zip(*columns, strict=True):
            if epoch * SECOND_NS > start_ns:
                yield _Epoch(epoch, last_id, recv_ns, Quoted(price, age_ms, valid))


class _Spot:
    """The spot market of a future, asked for in rising order."""

    def __init__(self, backend: Backend, market: Market, span: _Span) -> None:
        self._rows: Iterator[_Epoch] = iter(())
        if market.exchange in SPOT_OF:
            spot = Market(SPOT_OF[market.exchange], market.symbol)
            self._rows = _read_epochs(backend, spot, span.from_ns, span.until_ns)
        self._now = next(self._rows, None)

    def at(self, epoch: int) -> Quoted | None:
        """What its row of that epoch says; None without one."""
        while self._now is not None and self._now.epoch < epoch:
            self._now = next(self._rows, None)
        return self._now.quoted if self._now is not None and self._now.epoch == epoch else None


def _flows(
    backend: Backend,
    market: Market,
    session: Session,
    revisions: list[Any],
    epochs: Iterable[_Epoch],
    span: _Span,
    engine: FeatureEngine,
) -> Iterator[tuple[_Epoch, EpochFlow]]:
    """What each epoch of a session knew; the engine is told of history and anchors in between."""
    from_ns, until_ns, interval_ns = span.from_ns, span.until_ns, span.interval_s * SECOND_NS
    gaps = {stream: StreamGaps(backend, market, stream, revisions, session) for stream in session.streams - {"depth"}}
    trades_stream = "trades" if "trades" in session.streams else "raw_trades"

    def stored(stream: str, kind: type[Any]) -> StoredColumns:
        late = gaps[stream].late if stream in gaps else []
        return StoredColumns(backend, market, stream, kind, late)

    trades, quotes = stored(trades_stream, Trades), stored("book_ticker", Quotes)
    forced = stored("liquidations", Liquidations)
    marks = read_marks(backend, market, from_ns, until_ns)
    mark, next_mark = None, next(marks, None)
    books = _Books(backend, market, from_ns, until_ns)
    happened = iter(session.happened)
    waiting = next(happened, None)
    for row in epochs:
        epoch = row.epoch
        end_ns = epoch * SECOND_NS
        begin_ns = max(from_ns, end_ns - interval_ns)
        while next_mark is not None and next_mark.recv_ns < end_ns:
            mark, next_mark = next_mark, next(marks, None)
        book = books.at(row.last_id) if row.quoted.valid else None
        flow = EpochFlow(
            epoch,
            book,
            row.recv_ns,
            row.quoted.valid,
            None,
            trades.take(begin_ns, end_ns),
            quotes.take(begin_ns, end_ns),
            mark,
            forced.take(begin_ns, end_ns),
            frozenset(stream for stream, one in gaps.items() if one.touch(begin_ns, end_ns)),
        )
        while waiting is not None and waiting.time_ns < end_ns:
            _tell(backend, market, engine, waiting)
            waiting = next(happened, None)
        yield row, flow


def _tell(backend: Backend, market: Market, engine: FeatureEngine, happened: Happened) -> None:
    if happened.kind == "avwap_anchor":
        engine.hear(AvwapAnchor("manual" if happened.detail == "manual" else "auto"))
        return
    interval, *span = happened.detail.split(" ")
    if len(span) != 2:
        return
    first_ms, last_ms = int(span[0]), int(span[1])
    klines = [
        Kline(row["open_time"], *(row[name] for name in _KLINE[3:]))
        for rows in backend.scan(
            "klines", market, first_ms * 1_000_000, (last_ms + 1000 * length_of(interval)) * 1_000_000, _KLINE
        )
        for row in rows.to_pylist()
        if row["interval"] == interval and row["source"] == "rest" and first_ms <= row["open_time"] <= last_ms
    ]
    engine.hear(History(interval, klines))


class _Books:
    """Books by the update that they end with, asked for in rising order."""

    def __init__(self, backend: Backend, market: Market, start_ns: int, end_ns: int) -> None:
        units = Units()
        anchors = read_anchors(backend, market, units, start_ns - _CLOCKS_NS, end_ns)
        diffs = read_diffs(backend, market, units, start_ns - _CLOCKS_NS, end_ns + _CLOCKS_NS)
        self._steps = rebuild(diffs, anchors, units)
        self._now: Step | None = None

    def at(self, last_id: int | None) -> Book | None:
        """The book after update `last_id`; None where the store does not hold all that makes it."""
        if last_id is None:
            return None
        while self._now is None or self._now.diff.last_id < last_id:
            self._now = next(self._steps, None)
            if self._now is None:
                return None
        return self._now.book if self._now.diff.last_id == last_id else None
