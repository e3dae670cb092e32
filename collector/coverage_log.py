"""States what each market of a live run has without a gap, once a minute and at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING

from collector.core.batch import Batch
from collector.core.epochs import SECOND_NS
from collector.core.sequencer import Position
from collector.coverage import KIND, UNCOUNTED, Coverage, broken_streams, uncounted_ids
from storage_backends.interface import Market

if TYPE_CHECKING:
    from collector.venue import Venue

_EVERY_NS = 60 * SECOND_NS


class CoverageLog:
    """For all markets of `venues`. `collector_id`, the journal's, is set before the first commit."""

    def __init__(self, venues: Sequence[Venue]) -> None:
        self.collector_id = ""
        self._venues = venues
        self._stated_ns = 0
        self._positions: dict[Market, dict[str, Position]] = {}
        self._coverage: dict[Market, Coverage] = {}

    def reached(self, market: Market, positions: Mapping[str, Position]) -> None:
        """Where the market's streams are in the commit that comes next."""
        self._positions[market] = {name: copy(position) for name, position in positions.items()}

    def committed(self, batches: Iterable[tuple[Market, Batch]], *, interrupted: bool) -> None:
        """That commit succeeded. `interrupted`: rows before it were refused, and no gap says so yet."""
        told: dict[Market, list[Batch]] = {}
        for market, batch in batches:
            if batch.table == "gaps" or batch.table in UNCOUNTED:
                told.setdefault(market, []).append(batch)
        for market, positions in self._positions.items():
            coverage = self._coverage.setdefault(market, Coverage(self.collector_id))
            if interrupted:
                coverage.interrupted()
            mine = told.get(market, ())
            coverage.committed(positions, broken_streams(mine), uncounted_ids(mine))

    def tick(self, now_ns: int) -> None:
        """States what is due."""
        if now_ns - self._stated_ns >= _EVERY_NS:
            self.state(now_ns)

    def state(self, now_ns: int) -> None:
        """Makes the events of everything committed that is not stated yet."""
        self._stated_ns = now_ns
        for venue in self._venues:
            for symbol in venue.markets:
                coverage = self._coverage.get(Market(venue.exchange, symbol))
                detail = None if coverage is None else coverage.take()
                if detail is not None:
                    venue.recorder.event(now_ns, symbol, KIND, detail)
