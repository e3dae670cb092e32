"""Whether the book that anchors and diffs give is the one that was quoted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from collector.audit.chains import between_counts, note_break
from collector.audit.gaps import id_cover, recounts, time_cover
from collector.audit.rebuild import UNREADABLE, Units, read_anchors, read_diffs, rebuild
from collector.audit.report import EXAMPLES, BookCheck, Chain
from collector.audit.standing import Standings
from collector.audit.tables import TableAudit
from collector.core.gaps import Gap
from collector.core.ids import IdRanges
from storage_backends.interface import Backend, Market


def walk_books(
    backend: Backend,
    market: Market,
    gaps: list[Gap],
    complete: IdRanges,
    check: BookCheck,
    audit: TableAudit,
    start_ns: int | None,
    end_ns: int | None,
    every: Callable[[int], None] | None,
) -> Chain:
    """The chain of diffs; what the books that they give show goes into `check` and the findings of `audit`.

    `complete` are ids of which every quote is known to be stored. `every` is told the number of diffs walked, about
    each 1,000.
    """
    chain, cover, units = Chain(), id_cover(gaps, "depth"), Units()
    standings = Standings(audit.read, units, time_cover(gaps, "depth"), audit.findings)
    anew, last_recv_ns = recounts(gaps, "depth"), 0
    tickers, ticker_cover = _Tickers(backend, market, start_ns, end_ns), id_cover(gaps, "book_ticker")
    doubt: _Contradiction | None = None
    steps = rebuild(
        read_diffs(backend, market, units, start_ns, end_ns),
        read_anchors(backend, market, units, start_ns, end_ns),
        units,
    )
    for step in steps:
        diff, book = step.diff, step.book
        chain.rows += 1
        chain.first_id = diff.last_id if chain.first_id is None else chain.first_id
        chain.last_id = diff.last_id
        if step.missing is not None:
            told = cover.holds(*step.missing) or between_counts(anew, last_recv_ns, diff.recv_ns)
            note_break(chain, step.missing, told)
        last_recv_ns = diff.recv_ns
        check.unreadable += diff.stored.scale == UNREADABLE
        check.anchors += step.anchors
        check.anchor_levels += step.compared
        check.anchor_levels_differing += step.differing
        if every is not None and chain.rows % 1000 == 0:
            every(chain.rows)
        standings.reached(book, diff.link, diff.last_id, diff.stored)
        ticker = tickers.at(diff.last_id)
        if book is not None:
            check.rebuilt += 1
            bid, ask = book.best_bid, book.best_ask
            check.crossed += bid is not None and ask is not None and bid >= ask
            if ticker is not None and bid is not None and ask is not None:
                unit = float(10**book.price_places)
                update_id, *quoted = ticker
                check.compared += 1
                equal = [bid / unit, ask / unit] == quoted
                if doubt is not None and update_id > doubt.last_id:
                    _resolve(check, doubt, left_out=equal)
                    doubt = None
                if equal:
                    check.equal += 1
                elif update_id <= diff.link or tickers.ended or ticker_cover.touches(update_id + 1, diff.last_id):
                    check.unreported += 1
                else:
                    found = _Contradiction(diff.last_id, update_id, [bid / unit, ask / unit], quoted)
                    if doubt is None and update_id < diff.last_id and complete.holds(update_id + 1, diff.last_id):
                        doubt = found
                    else:
                        _resolve(check, found, left_out=False)
    if doubt is not None:
        _resolve(check, doubt, left_out=False)
    standings.finish()
    check.diffs = chain.rows
    return chain


class _Contradiction(NamedTuple):
    """Best prices of the book after a diff, and the newest quote then, which has others."""

    last_id: int
    update_id: int
    book: list[float]
    book_ticker: list[float]


def _resolve(check: BookCheck, found: _Contradiction, *, left_out: bool) -> None:
    if left_out:
        check.left_out += 1
        return
    check.differing += 1
    if len(check.examples) < EXAMPLES:
        check.examples.append(found._asdict())


class _Tickers:
    """The newest book_ticker at or before an update, for rising updates."""

    def __init__(self, backend: Backend, market: Market, start_ns: int | None, end_ns: int | None) -> None:
        self._rows = self._read(backend, market, start_ns, end_ns)
        self._next = next(self._rows, None)
        self._newest: tuple[int, float, float] | None = None

    @property
    def ended(self) -> bool:
        """Whether the newest one is the last one stored."""
        return self._next is None

    def at(self, update_id: int) -> tuple[int, float, float] | None:
        while self._next is not None and self._next[0] <= update_id:
            self._newest = self._next
            self._next = next(self._rows, None)
        return self._newest

    @staticmethod
    def _read(
        backend: Backend, market: Market, start_ns: int | None, end_ns: int | None
    ) -> Iterator[tuple[int, float, float]]:
        columns = ("update_id", "bid_price", "ask_price")
        for rows in backend.scan("book_ticker", market, start_ns, end_ns, columns):
            yield from zip(*(rows.column(name).to_pylist() for name in columns), strict=True)
