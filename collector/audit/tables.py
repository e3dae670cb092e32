"""Tables that are computed or count no ids: each row by itself, the steps between rows, and rows against others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

from collector.audit.bars import check_bars, check_klines
from collector.audit.batches import Columns
from collector.audit.ends import Sessions
from collector.audit.findings import Findings
from collector.audit.gaps import time_cover
from collector.audit.rules import RULES, check_order, check_rows
from collector.audit.series import Series
from collector.audit.story import Story
from collector.audit.tape import TapeReader
from collector.core.epochs import SECOND_NS
from collector.core.gaps import Gap
from collector.times import show_ns
from storage_backends.interface import Backend, Market

if TYPE_CHECKING:
    import pyarrow as pa

_STEADY: Final = frozenset({"books", "multitick", "features", "bars"})
"""Tables with a row at each step."""

_COLUMNS: Final[dict[str, tuple[str, ...]]] = {"features": ("epoch",)}
"""Those that are looked at, where it is not all."""

_WALKED: Final = frozenset({"depth", "books", "multitick", "partial_depth", "polled_books"})
"""Tables that `Standings` reads."""


class TableAudit:
    """Of one market. Every table is read once: by `read`, or at last by `finish`."""

    def __init__(
        self,
        backend: Backend,
        market: Market,
        gaps: list[Gap],
        story: Story,
        interval_s: Callable[[int], int],
        window: tuple[int | None, int | None],
    ) -> None:
        """`interval_s` gives the seconds of an epoch in the session after so many starts."""
        self.findings = Findings(market)
        self._backend = backend
        self._market = market
        self._gaps = gaps
        self._story = story
        self._interval_s = interval_s
        self._window = window
        self._tables = set(backend.tables(market))

    def read(self, table: str) -> Iterator[pa.RecordBatch]:
        """The rows of a table, each looked at on the way."""
        if table not in self._tables:
            return
        series = self._series(table) if table in _STEADY else None
        sessions = Sessions(self._story) if table == "features" else None
        last = None
        for batch in self._backend.scan(table, self._market, *self._window, _COLUMNS.get(table)):
            check_rows(table, batch, self.findings)
            last = check_order(table, batch, last, self.findings)
            if series is not None:
                series.add(Columns(batch))
            if sessions is not None:
                sessions.add(batch.column("epoch").to_numpy())
            yield batch
        if sessions is not None:
            self._compare_ends(table, sessions)

    def finish(self) -> None:
        """Looks at the tables that nobody read, and at what is made of trades."""
        for table in sorted((self._tables & ({*RULES} | _STEADY)) - _WALKED):
            for _ in self.read(table):
                pass
        several = self._story.collectors > 1
        if self._tables & {"bars", "klines"}:
            reader = TapeReader(self._backend, self._market, self._gaps)
            check_bars(self._backend, self._market, reader, self.findings, *self._window, several=several)
            check_klines(self._backend, self._market, reader, self.findings, *self._window)
        if "features" in self._tables and not several:  # else a row of each may be of another collector
            self._compare_features()

    def _series(self, table: str) -> Series:
        cover = time_cover(self._gaps, table)
        if table == "books":
            for first, last in self._story.left_out:
                cover.add(first, last)
        return Series(table, self._story.starts, self._interval_s, cover, self.findings)

    def _compare_ends(self, table: str, sessions: Sessions) -> None:
        """Sessions that have rows have them from their first to their last epoch."""
        cover, check = time_cover(self._gaps, table), self.findings.of(table)
        for hole in sessions.holes(self._interval_s, *self._window):
            if cover.holds(hole.first * SECOND_NS, hole.last * SECOND_NS):
                check.explained_holes += 1
            else:
                to = show_ns(hole.last * SECOND_NS)
                what = f"rows are missing up to {to}, at an end of a session, and no gap tells of it"
                self.findings.hole(table, hole.first * SECOND_NS, what)

    def _compare_features(self) -> None:
        """The middle of the best prices stands in both tables."""
        scan, market = self._backend.scan, self._market
        for batch in scan("features", market, *self._window, ("epoch", "mid")):
            epochs, mids = Columns(batch)["epoch"], Columns(batch)["mid"].astype(float)
            span_ns = int(epochs[0]) * SECOND_NS, (int(epochs[-1]) + 1) * SECOND_NS
            for depth in scan("depth", market, *span_ns, ("epoch", "price")):
                theirs = Columns(depth)
                _, ours, other = np.intersect1d(epochs, theirs["epoch"], assume_unique=True, return_indices=True)
                prices = theirs["price"].astype(float)[other]
                check = self.findings.of("features")
                check.compared += len(ours)
                for at in np.flatnonzero(np.abs(mids[ours] - prices) > 1e-12 * prices).tolist():
                    what = f"mid is {mids[ours][at]}, the depth row has {prices[at]}"
                    self.findings.wrong("features", int(epochs[ours[at]]) * SECOND_NS, what)
