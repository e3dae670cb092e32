"""Gathers the live state of a run, each second."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from collector import __version__
from collector.core.latency import LagWindow
from collector.live_state import (
    Histogram,
    MarketState,
    RestWeight,
    State,
    descriptor_limit,
    descriptors,
    memory_bytes,
    write_state,
)
from storage_backends.interface import Market

if TYPE_CHECKING:
    from collector.core.buckets import Buckets
    from collector.journal.deliverer import Deliverer
    from collector.journal.journal import Journal
    from collector.live_market import LiveMarket
    from collector.venue import Venue
    from collector.watch import MarketWatch, Watch

log = logging.getLogger(__name__)


class StateWriter:
    """One for a run. A state that cannot be written is said once and tried again the next second."""

    def __init__(self, data_dir: Path, backend: str, start_ns: int, venues: Sequence[Venue], watch: Watch) -> None:
        self._data_dir = data_dir
        self._backend = backend
        self._start_ns = start_ns
        self._venues = venues
        self._watch = watch
        self._complained = False

    def write(self, state: State) -> None:
        """Replaces the state file. From any thread."""
        try:
            write_state(self._data_dir, state)
        except OSError as error:
            if not self._complained:
                log.warning("the live state cannot be written, so displays stand still: %s", error)
            self._complained = True
        else:
            self._complained = False

    def state(
        self,
        now_ns: int,
        *,
        journal: Journal | None = None,
        deliverer: Deliverer | None = None,
        refusing: bool = False,
        stopping: bool = False,
    ) -> State:
        """The state at `now_ns`. From the event loop's thread."""
        counts = None if deliverer is None else deliverer.counts
        return State(
            version=__version__,
            pid=os.getpid(),
            started_ns=self._start_ns,
            now_ns=now_ns,
            backend=self._backend,
            stopping=stopping,
            frames=sum(venue.recorder.frames for venue in self._venues),
            markets=[
                self._market(Market(venue.exchange, symbol), live, now_ns)
                for venue in self._venues
                for symbol, live in venue.markets.items()
            ],
            clock_offset_ms={venue.exchange: _ms(venue.recorder.clock_offset_ns) for venue in self._venues},
            rest_weight={venue.exchange: weight for venue in self._venues if (weight := _weight(venue)) is not None},
            journal_bytes=None if journal is None else journal.held_bytes,
            journal_max_bytes=None if journal is None else journal.max_bytes,
            journal_lag=None if journal is None else _histogram(self._watch.journal),
            backend_lag_s=None if deliverer is None else deliverer.lag_s(),
            backend_lag=None if deliverer is None else _histogram(self._watch.backend),
            backend_away_since_ns=None if counts is None else counts.away_since_ns,
            backend_error=None if counts is None else counts.last_error,
            delivered_rows=None if counts is None else counts.delivered_rows,
            refused_rows=None if counts is None else counts.refused_rows,
            refusing=refusing,
            memory_bytes=memory_bytes(),
            descriptors=descriptors(),
            descriptor_limit=descriptor_limit(),
        )

    def _market(self, market: Market, live: LiveMarket, now_ns: int) -> MarketState:
        core = live.market
        watched: MarketWatch = self._watch.of(market)
        latest = core.latest
        lags = watched.socket.percentiles(now_ns // 1_000_000_000, 50, 95, 99)
        channels = core.session.channels
        return MarketState(
            exchange=market.exchange,
            symbol=market.symbol,
            name=live.name,
            grade=watched.quality.grade.name.lower(),
            reasons=list(watched.quality.reasons),
            epoch=None if latest is None else latest.epoch,
            best_bid=None if latest is None else latest.best_bid,
            best_ask=None if latest is None else latest.best_ask,
            bid_buckets=None if latest is None else _values(latest.bids),
            ask_buckets=None if latest is None else _values(latest.asks),
            step=core.session.step,
            valid=latest is not None and latest.valid,
            connected=[name for name in channels if core.connection(name) is not None],
            down=[name for name in channels if core.connection(name) is None],
            open_gaps=sorted(core.open_gaps),
            gaps={stream: dict(reasons) for stream, reasons in watched.stated.items()},
            counts=core.counts,
            lag_p50_ms=lags[0],
            lag_p95_ms=lags[1],
            lag_p99_ms=lags[2],
            lag=_histogram(watched.socket),
            book_lag=_histogram(watched.book),
        )


def _ms(value_ns: int | None) -> float | None:
    return None if value_ns is None else value_ns / 1e6


def _weight(venue: Venue) -> RestWeight | None:
    budget = venue.feed.budget
    return None if budget is None else RestWeight(budget.used, budget.limit, budget.pause_s)


def _histogram(window: LagWindow) -> Histogram:
    return Histogram(window.totals.tolist(), window.sum_ms)


def _values(buckets: Buckets | None) -> list[float | None] | None:
    if buckets is None:
        return None
    values = buckets.values
    if not np.isnan(values).any():
        return [float(value) for value in values]
    return [None if np.isnan(value) else float(value) for value in values]
