"""Whether a store keeps the promise: every break explained, no row missing, all of them agreeing with each other."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from collector.audit.committed import check_committed
from collector.audit.ends import Sessions
from collector.audit.findings import TableCheck
from collector.audit.gaps import id_cover, recounts, time_cover
from collector.audit.healing import read_remaining
from collector.audit.rebuild import UNREADABLE, Units, read_anchors, read_diffs, rebuild
from collector.audit.standing import Standings
from collector.audit.story import Story, read_story
from collector.audit.tables import TableAudit
from collector.core.epochs import SECOND_NS
from collector.core.gaps import Gap
from collector.core.ids import IdRanges
from collector.markets import FUTURES
from storage_backends.interface import Backend, Market
from storage_backends.schema import TABLES

_EXAMPLES = 20
_ABOUT_OTHERS = frozenset({"gaps", "events", "clock"})
_ID_TABLES = (("trades", "agg_trade_id"), ("raw_trades", "trade_id"))


class Chain(msgspec.Struct):
    """Ids of a stream. A break is a range of missing ids that no stored gap explains; `breaks` shows the first 20."""

    rows: int = 0
    first_id: int | None = None
    last_id: int | None = None
    explained: int = 0
    unexplained: int = 0
    breaks: list[tuple[int, int]] = []


class EpochCheck(msgspec.Struct):
    """Rows of `depth`. Holes are between epochs; explained ones lie inside a stored gap."""

    rows: int = 0
    valid: int = 0
    first: int | None = None
    last: int | None = None
    interval_s: int | None = None
    explained_holes: int = 0
    unexplained_holes: int = 0
    holes: list[tuple[int, int]] = []


class BookCheck(msgspec.Struct):
    """The book rebuilt from anchors and diffs.

    `equal` of `compared` diffs left best prices equal to the newest book_ticker at or before them. `unreported` ones
    differ where book_ticker has nothing to say: it sent nothing since the update that the diff follows on, or what it
    sent is in a gap or was not yet there when collecting ended. `left_out` ones differ where the next quotes agree
    again, and all that was received in between is stored, as the collector states. `differing` ones contradict it.
    `unreadable` ones hold numbers that cannot be exact.
    """

    diffs: int = 0
    rebuilt: int = 0
    crossed: int = 0
    compared: int = 0
    equal: int = 0
    unreported: int = 0
    left_out: int = 0
    differing: int = 0
    anchors: int = 0
    anchor_levels: int = 0
    anchor_levels_differing: int = 0
    unreadable: int = 0
    examples: list[dict[str, Any]] = []


class GapCount(msgspec.Struct):
    """Gaps of one stream."""

    gaps: int = 0
    open: int = 0
    healed: int = 0


class CoveredSeconds(msgspec.Struct):
    """Of the epochs from first to last, those in whose second no stream has a gap left, whoever collected it.

    `ranges` are first and last epoch of each unbroken run.
    """

    seconds: int = 0
    of: int = 0
    ranges: list[tuple[int, int]] = []


class MarketReport(msgspec.Struct):
    """What was found in one market; `problems` is empty when the store keeps its promise there."""

    exchange: str
    symbol: str
    chains: dict[str, Chain]
    epochs: EpochCheck
    book: BookCheck
    gaps: dict[str, GapCount]
    quarantined: int
    covered: CoveredSeconds
    tables: dict[str, TableCheck]
    problems: list[str]


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
    report.epochs, interval_s = _walk_epochs(backend, market, gaps, story, start_ns, end_ns)
    audit = TableAudit(backend, market, gaps, story, interval_s, (start_ns, end_ns))
    complete = IdRanges()
    for stream, spans in story.committed.items():
        found = check_committed(backend, market, stream, spans, gaps, audit.findings, start_ns, end_ns)
        complete = found if stream == "book_ticker" else complete
    report.chains["depth"] = _walk_books(backend, market, gaps, complete, report.book, audit, start_ns, end_ns, every)
    audit.finish()
    for table, column in _ID_TABLES:
        chain = _walk_ids(backend, market, gaps, table, column, start_ns, end_ns)
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


def _note_break(chain: Chain, missing: tuple[int, int], explained: bool) -> None:
    if explained:
        chain.explained += 1
        return
    chain.unexplained += 1
    if len(chain.breaks) < _EXAMPLES:
        chain.breaks.append(missing)


def _between_counts(anew: list[int], lower_ns: int, higher_ns: int) -> bool:
    """Whether lower ids came after higher ones because the exchange began to count anew in between, as a gap says."""
    return any(higher_ns < restarted_ns <= lower_ns for restarted_ns in anew)


def _walk_ids(
    backend: Backend,
    market: Market,
    gaps: list[Gap],
    table: str,
    column: str,
    start_ns: int | None,
    end_ns: int | None,
) -> Chain:
    chain, cover, anew = Chain(), id_cover(gaps, table), recounts(gaps, table)
    last_recv_ns = 0
    counted = market.exchange in FUTURES  # elsewhere ids of trades have holes that mean nothing
    for rows in backend.scan(table, market, start_ns, end_ns, (column, "recv_ns")):
        ids, recv_ns = rows.column(column).to_numpy(), rows.column("recv_ns").to_numpy()
        if chain.last_id is None:
            chain.first_id = int(ids[0])
            chain.last_id = int(ids[0]) - 1
        steps = ids.copy()
        steps[1:] -= ids[:-1]
        steps[0] -= chain.last_id
        for at in (steps != 1).nonzero()[0].tolist() if counted else ():
            missing = (int(ids[at] - steps[at]) + 1, int(ids[at]) - 1)
            before_ns = int(recv_ns[at - 1]) if at else last_recv_ns
            _note_break(chain, missing, cover.holds(*missing) or _between_counts(anew, before_ns, int(recv_ns[at])))
        chain.rows += len(ids)
        chain.last_id, last_recv_ns = int(ids[-1]), int(recv_ns[-1])
    return chain


def _walk_epochs(
    backend: Backend,
    market: Market,
    gaps: list[Gap],
    story: Story,
    start_ns: int | None,
    end_ns: int | None,
) -> tuple[EpochCheck, Callable[[int], int]]:
    """Also how many seconds an epoch has, by session."""
    check, cover, between = EpochCheck(), time_cover(gaps, "depth"), time_cover(gaps)
    starts, sessions = story.starts.tolist(), Sessions(story)
    # A session has one interval; it shows as the shortest step.
    interval: dict[int, int] = {}
    for session, before, after in _epoch_steps(backend, market, starts, start_ns, end_ns, (check, sessions)):
        if session is not None:
            interval[session] = min(after - before, interval.get(session, after - before))
    check.interval_s = min(interval.values(), default=None)
    for session, before, after in _epoch_steps(backend, market, starts, start_ns, end_ns, None):
        step = (check.interval_s or 1) if session is None else interval[session]
        if after - before == step:
            continue
        if (between if session is None else cover).holds((before + step) * SECOND_NS, (after - step) * SECOND_NS):
            check.explained_holes += 1
        else:
            check.unexplained_holes += 1
            if len(check.holes) < _EXAMPLES:
                check.holes.append((before, after))
    for hole in sessions.holes(lambda session: interval.get(session, check.interval_s or 1), start_ns, end_ns):
        if cover.holds(hole.first * SECOND_NS, hole.last * SECOND_NS):
            check.explained_holes += 1
        else:
            check.unexplained_holes += 1
            if len(check.holes) < _EXAMPLES:
                check.holes.append((hole.first - hole.interval_s, hole.last + hole.interval_s))
    return check, lambda session: interval.get(session, check.interval_s or 1)


def _epoch_steps(
    backend: Backend,
    market: Market,
    starts: list[int],
    start_ns: int | None,
    end_ns: int | None,
    told: tuple[EpochCheck, Sessions] | None,
) -> Iterator[tuple[int | None, int, int]]:
    """Session, epoch and next epoch of all neighbours, None where a session begins; tells the rows to `told`."""
    last: tuple[int, int] | None = None
    for rows in backend.scan("depth", market, start_ns, end_ns, ("epoch", "valid")):
        epochs = rows.column("epoch").to_pylist()
        if told is not None:
            check, sessions = told
            sessions.add(rows.column("epoch").to_numpy())
            check.rows += len(epochs)
            check.valid += rows.column("valid").true_count
            check.first = epochs[0] if check.first is None else check.first
            check.last = epochs[-1]
        for epoch in epochs:
            session = bisect_left(starts, epoch * SECOND_NS)
            if last is not None:
                yield session if last[0] == session else None, last[1], epoch
            last = session, epoch


def _walk_books(
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
            told = cover.holds(*step.missing) or _between_counts(anew, last_recv_ns, diff.recv_ns)
            _note_break(chain, step.missing, told)
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
    if len(check.examples) < _EXAMPLES:
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
