"""Whether a store keeps the promise: every break explained, no row missing, all of them agreeing with each other."""

from __future__ import annotations

from collections.abc import Callable

from collector.audit.books import walk_books
from collector.audit.chains import walk_ids
from collector.audit.committed import check_committed
from collector.audit.epochs import walk_epochs
from collector.audit.healing import read_remaining
from collector.audit.report import BookCheck, CoveredSeconds, EpochCheck, GapCount, MarketReport
from collector.audit.story import read_story
from collector.audit.tables import TableAudit
from collector.core.epochs import SECOND_NS
from collector.core.gaps import Gap
from collector.core.ids import IdRanges
from storage_backends.interface import Backend, Market
from storage_backends.schema import TABLES

_ABOUT_OTHERS = frozenset({"gaps", "events", "clock"})
_ID_TABLES = (("trades", "agg_trade_id"), ("raw_trades", "trade_id"))


def verify_market(
    backend: Backend,
    market: Market,
    start_ns: int | None = None,
    end_ns: int | None = None,
    every: Callable[[int], None] | None = None,
) -> MarketReport:
    """Audits one market; `every` is told the number of diffs walked, about each 1,000."""
    gaps = read_remaining(backend, market)
    story = read_story(backend, market)
    report = MarketReport(*market, {}, EpochCheck(), BookCheck(), {}, story.quarantined, CoveredSeconds(), {}, [])
    for gap in gaps:
        count = report.gaps.setdefault(gap.stream, GapCount())
        count.gaps += 1
        count.open += gap.to_ns is None
        count.healed += gap.healed
    report.epochs, interval_s = walk_epochs(backend, market, gaps, story, start_ns, end_ns)
    audit = TableAudit(backend, market, gaps, story, interval_s, (start_ns, end_ns))
    complete = IdRanges()
    for stream, spans in story.committed.items():
        found = check_committed(backend, market, stream, spans, gaps, audit.findings, start_ns, end_ns)
        complete = found if stream == "book_ticker" else complete
    report.chains["depth"] = walk_books(backend, market, gaps, complete, report.book, audit, start_ns, end_ns, every)
    audit.finish()
    for table, column in _ID_TABLES:
        chain = walk_ids(backend, market, gaps, table, column, start_ns, end_ns)
        if chain.rows:
            report.chains[table] = chain
    report.covered = _covered(gaps, report.epochs)
    report.tables = audit.findings.tables
    report.problems = _problems(report) + audit.findings.problems()
    if not _holds_rows(backend, market, start_ns, end_ns):
        report.problems.append("nothing but gaps and events is stored in this window")
    return report


def _holds_rows(backend: Backend, market: Market, start_ns: int | None, end_ns: int | None) -> bool:
    """Whether there is anything to be good or bad."""
    tables = (table for table in backend.tables(market) if table not in _ABOUT_OTHERS)
    return any(
        rows.num_rows
        for table in tables
        for rows in backend.scan(table, market, start_ns, end_ns, (TABLES[table].time,))
    )


def _covered(gaps: list[Gap], epochs: EpochCheck) -> CoveredSeconds:
    """Epoch T holds the second before it."""
    if epochs.first is None or epochs.last is None:
        return CoveredSeconds()
    touched = IdRanges(
        (gap.from_ns // SECOND_NS + 1, epochs.last if gap.to_ns is None else gap.to_ns // SECOND_NS + 1)
        for gap in gaps
        if not gap.healed
    )
    ranges = touched.missing(epochs.first, epochs.last)
    return CoveredSeconds(sum(end - start + 1 for start, end in ranges), epochs.last - epochs.first + 1, ranges)


def _problems(report: MarketReport) -> list[str]:
    found = [
        f"{name}: {chain.unexplained} breaks that no gap explains"
        for name, chain in report.chains.items()
        if chain.unexplained
    ]
    book, epochs = report.book, report.epochs
    if epochs.unexplained_holes:
        found.append(f"epochs: {epochs.unexplained_holes} holes that no gap explains")
    if book.crossed:
        found.append(f"book: crossed after {book.crossed} diffs")
    if book.unreadable:
        found.append(f"book: {book.unreadable} diffs hold numbers that cannot be exact")
    if book.differing:
        found.append(f"book: differs from book_ticker after {book.differing} diffs")
    if book.anchor_levels_differing:
        found.append(f"book: {book.anchor_levels_differing} levels differ from anchors")
    return found
