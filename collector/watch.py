"""Looks at every market each second: lags of each stage, causes of trouble, and the grade that follows from them.

What it finds are rows of `quality`, changes that somebody may be told of, and the numbers that a display or an exporter
asks for. It reads; nothing that is collected depends on it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from collector.core.batch import Batch
from collector.core.epochs import SECOND_NS
from collector.core.latency import LagWindow
from collector.core.quality import Grade, Judge, Quality, Vitals, causes
from collector.core.records import rows_batch
from storage_backends.interface import Market

if TYPE_CHECKING:
    from collector.clock import Clock
    from collector.journal.deliverer import Deliverer
    from collector.journal.journal import Journal
    from collector.live_market import LiveMarket
    from collector.venue import Venue

COLUMNS: Final = (
    "epoch",
    "ok",
    "grade",
    "reasons",
    "lag_p50_ms",
    "lag_p95_ms",
    "lag_p99_ms",
    "late_ms",
    "clock_offset_ms",
    "journal_lag_ms",
    "backend_lag_ms",
    "book_lag_ms",
)

_STAMPS: Final = {"diffs": "event_time", "trades": "timestamp", "raw_trades": "timestamp"}
"""The exchange's stamp, in ms, by which the lag of a table's rows is told."""

_OF_GAP: Final = ("stream", "reason", "revision")

_SAMPLE: Final = 64
"""Messages of a table and second whose lag is looked at, evenly spread."""

_ROWS: Final = 10
"""Seconds of `quality` in one batch: each batch costs the journal as much as a hundred rows."""

_DISK_CHECK_NS: Final = 10 * SECOND_NS


class Change(NamedTuple):
    """The grade of a market changed."""

    market: Market
    epoch: int
    before: Grade
    now: Quality


class MarketWatch:
    """What is known of one market.

    Attributes:
        socket: lags from the exchange's stamp, by its own clock, to our receipt.
        book: lags from receipt until the book holds it, of the oldest of the messages that reach it together.
        quality: of the last second.
    """

    def __init__(self, start_ns: int) -> None:
        self.start_ns = start_ns
        self.socket = LagWindow()
        self.book = LagWindow()
        self.book_lags_ms: list[float] = []
        """Since the last second."""
        self.quality = Quality(Grade.OK, ())
        self.judge = Judge()
        self.rows: list[tuple[Any, ...]] = []
        self.had_book = False
        self.gaps: set[str] = set()
        """Streams of which a gap was stated since the last second."""
        self.stated: dict[str, Counter[str]] = {}
        """How many gaps were stated, by stream and reason; what is said of one afterwards counts no more."""


class Watch:
    """One for a live run. Call `received` with what is drained, `committed` after a commit, `second` each second.

    Attributes:
        journal: lags from receipt to a commit that is on disk, one a commit: that of its oldest row.
        backend: lags from receipt to the backend's word, one a second: that of the oldest row still without it.
    """

    def __init__(
        self,
        venues: Iterable[Venue],
        clock: Clock,
        data_dir: Path | None,
        on_change: Callable[[list[Change]], object],
    ) -> None:
        """`data_dir` is None when nothing is stored."""
        self.markets: dict[Market, MarketWatch] = {}
        self.journal = LagWindow()
        self.backend = LagWindow()
        self._venues = list(venues)
        self._clock = clock
        self._data_dir = data_dir
        self._on_change = on_change
        self._journal_lag_ms: float | None = None
        self._epoch = 0
        self._disk_free: int | None = None
        self._disk_due_ns = 0

    def attach(self, market: Market, live: LiveMarket) -> None:
        """Begins to take the lags of a market's book."""
        watched, now_ns = self.of(market), self._clock.now_ns

        def applied(recv_ns: int) -> None:
            watched.book_lags_ms.append((now_ns() - recv_ns) / 1e6)

        live.watch_book(applied)

    def received(self, venue: Venue, symbol: str, batches: Iterable[Batch]) -> None:
        """Takes the lags of rows that were drained from a market."""
        market = self.of(Market(venue.exchange, symbol))
        offset_ns = venue.recorder.clock_offset_ns or 0
        now_s = self._clock.now_ns() // SECOND_NS
        for batch in batches:
            if batch.table == "gaps":
                market.gaps.update(_strings(batch, "stream"))
                for stream, reason, revision in zip(*map(batch.columns.get, _OF_GAP), strict=True):
                    if revision == 0:
                        market.stated.setdefault(stream, Counter())[reason] += 1
            stamp = _STAMPS.get(batch.table)
            if stamp is None:
                continue
            step = max(1, batch.rows // _SAMPLE)
            sent_ms = np.asarray(_sampled(batch, stamp, step), np.float64)
            recv_ns = np.asarray(_sampled(batch, "recv_ns", step), np.int64)
            sources = batch.columns.get("source")
            if isinstance(sources, list):  # a trade fetched afterwards is late by its gap, not by the network
                live = [source == "ws" for source in sources[::step]]
                sent_ms, recv_ns = sent_ms[live], recv_ns[live]
            market.socket.add(now_s, (recv_ns + offset_ns) / 1e6 - sent_ms)

    def committed(self, oldest_ns: int | None) -> None:
        """Rows of which the oldest was received at `oldest_ns` are on disk now; None when there were none."""
        if oldest_ns is None:
            return
        now_ns = self._clock.now_ns()
        self._journal_lag_ms = max(0.0, (now_ns - oldest_ns) / 1e6)
        self.journal.add(now_ns // SECOND_NS, self._journal_lag_ms)

    def second(
        self, now_ns: int, *, journal: Journal | None = None, deliverer: Deliverer | None = None, refusing: bool = False
    ) -> None:
        """Grades every market for the second that ended last; each second once, however often this is called."""
        epoch = now_ns // SECOND_NS
        if epoch <= self._epoch:
            return
        self._epoch = epoch
        late_ms = (now_ns - epoch * SECOND_NS) / 1e6
        backend_lag_ms = self._backend_lag_ms(epoch, deliverer)
        away_ns = None if deliverer is None else deliverer.counts.away_since_ns
        shared: dict[str, Any] = {
            "late_ms": late_ms,
            "journal_share": None if journal is None else journal.held_bytes / journal.max_bytes,
            "backend_away_s": None if away_ns is None else (now_ns - away_ns) / 1e9,
            "refusing": refusing,
            "disk_free_bytes": self._free_bytes(now_ns),
        }
        changes = []
        for venue in self._venues:
            for symbol, live in venue.markets.items():
                market = Market(venue.exchange, symbol)
                watched = self.of(market)
                lags = watched.socket.percentiles(epoch, 50, 95, 99)
                offset_ms, age_s = _clock_of(venue, now_ns)
                watched.had_book |= live.market.in_step
                of_market: dict[str, Any] = {
                    "age_s": (now_ns - watched.start_ns) / 1e9,
                    "had_book": watched.had_book,
                    "gaps": live.market.open_gaps | watched.gaps,
                    "lag_p95_ms": lags[1],
                    "clock_offset_ms": offset_ms,
                    "clock_age_s": age_s,
                }
                watched.gaps = set()
                vitals = Vitals(**shared, **of_market, **_of_book(live))
                before, watched.quality = watched.quality, watched.judge.step(epoch, causes(vitals))
                now = watched.quality
                if now.grade != before.grade:
                    changes.append(Change(market, epoch, before.grade, now))
                book_lags_ms, watched.book_lags_ms = watched.book_lags_ms, []
                if book_lags_ms:
                    watched.book.add(epoch, book_lags_ms)
                book_lag_ms = max(book_lags_ms, default=None)
                head = (epoch, now.grade is Grade.OK, now.grade.name.lower(), " ".join(now.reasons))
                stored = (late_ms, offset_ms, self._journal_lag_ms, backend_lag_ms, book_lag_ms)
                watched.rows.append((*head, *lags, *stored))
                if len(watched.rows) >= _ROWS or now.grade > before.grade:
                    self._hand_on(live, watched)
        if changes:
            self._on_change(changes)

    def finish(self) -> None:
        """Hands on all rows that still wait."""
        for venue in self._venues:
            for symbol, live in venue.markets.items():
                self._hand_on(live, self.of(Market(venue.exchange, symbol)))

    def _hand_on(self, live: LiveMarket, watched: MarketWatch) -> None:
        if watched.rows:
            live.process_rows.append(rows_batch("quality", COLUMNS, watched.rows))
            watched.rows = []

    def of(self, market: Market) -> MarketWatch:
        """What is known of a market."""
        watched = self.markets.get(market)
        if watched is None:
            watched = self.markets[market] = MarketWatch(self._clock.now_ns())
        return watched

    def _backend_lag_ms(self, epoch: int, deliverer: Deliverer | None) -> float | None:
        if deliverer is None:
            return None
        lag_ms = deliverer.lag_s() * 1e3
        self.backend.add(epoch, lag_ms)
        return lag_ms

    def _free_bytes(self, now_ns: int) -> int | None:
        if self._data_dir is not None and now_ns >= self._disk_due_ns:
            self._disk_due_ns = now_ns + _DISK_CHECK_NS
            try:
                found = os.statvfs(self._data_dir)
            except OSError:
                self._disk_free = None
            else:
                self._disk_free = found.f_bavail * found.f_frsize
        return self._disk_free


def _of_book(live: LiveMarket) -> dict[str, Any]:
    market = live.market
    channels = market.session.channels
    latest = market.latest
    beyond = market.in_step and not market.known_to_its_best
    return {
        "down": frozenset(channel for channel in channels if market.connection(channel) is None),
        "wants_book": "depth" in channels,
        "in_step": market.in_step,
        "book_stale": latest is not None and not latest.valid and not beyond and "depth" not in market.open_gaps,
        "beyond_known_depth": beyond,
    }


def _clock_of(venue: Venue, now_ns: int) -> tuple[float | None, float | None]:
    recorder = venue.recorder
    if recorder.clock_offset_ns is None or recorder.clock_measured_ns is None:
        return None, None
    return recorder.clock_offset_ns / 1e6, (now_ns - recorder.clock_measured_ns) / 1e9


def _sampled(batch: Batch, name: str, step: int) -> Any:
    column = batch.columns[name]
    assert isinstance(column, list | np.ndarray)
    return column[::step]


def _strings(batch: Batch, name: str) -> list[str]:
    column = batch.columns[name]
    assert isinstance(column, list)
    return column
