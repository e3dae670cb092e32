"""Where a market's streams ended, as far as the store knows it: alone, at a start without the journal that would know
better, or beside the journal, for what a backfill has stored since."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from collector.audit.gaps import read_gaps
from collector.core.channels import table_of
from collector.core.epochs import SECOND_NS
from collector.core.gaps import Unfilled
from collector.core.ids import IdRanges
from collector.core.inputs import Resume
from collector.core.market import FETCHED_AFTERWARDS
from collector.core.sequencer import Position
from collector.markets import FUTURES
from collector.stored import stored_ids
from storage_backends.errors import BackendError, TransientBackendError
from storage_backends.reading import ends

if TYPE_CHECKING:
    from storage_backends.interface import Backend, Market

log = logging.getLogger(__name__)

_TABLES = {
    "depth": "diffs",
    "trades": "trades",
    "raw_trades": "raw_trades",
    "book_ticker": "book_ticker",
    "mark_price": "mark_price",
    "liquidations": "liquidations",
}
"""Streams, and the tables whose first key is their id, or their time. Klines and partial books of several kinds share a
table, so it tells only when the last of them came."""

_KEYS = {"trades": "agg_trade_id", "raw_trades": "trade_id"}

_NEAR_NS = 60 * 10**9
"""How far the exchange's clock may be from ours, so that trades are found by their time."""

_REMEMBERED = 64


def resumes_of(backend: Backend, markets: Iterable[Market], known: Mapping[Market, Resume]) -> dict[Market, Resume]:
    """What each of `markets` begins with: what the journal remembers of it (`known`), or else the store.

    Where the store cannot be read, the journal's word counts. A backend that is away is asked once, not by each market.
    """
    found = dict(known)
    for market in markets:
        try:
            if market in known:
                found[market] = with_stored(backend, market, known[market])
            elif (resume := resume_from_store(backend, market)) is not None:
                found[market] = resume
        except BackendError as error:
            log.warning("what is stored of %s %s is not looked at: %s", market.exchange, market.symbol, error)
            if isinstance(error, TransientBackendError):
                log.warning("nor what is stored of the markets after it")
                break
    return found


def newest_ns(resumes: Iterable[Resume]) -> int:
    """The newest time (ns) that any market remembers, by the clock of its session; 0 without one."""
    return max((max(one.last_ns, (one.last_epoch or 0) * SECOND_NS) for one in resumes), default=0)


def resume_from_store(backend: Backend, market: Market) -> Resume | None:
    """What is stored of `market` as a session's beginning, from metadata and the gaps; None when nothing is stored.

    What a lost journal held beyond that is lost, and lies in the gap that the new session begins with.

    Raises:
        BackendError: the store cannot be read.
    """
    positions: dict[str, Position] = {}
    for stream, table in _TABLES.items():
        last_key, last_ns = ends(backend, table, market)
        if isinstance(last_key, int) and last_ns is not None:
            positions[stream] = Position(last_key, last_ns, last_ns // 1_000_000)
    last_epoch, _ = ends(backend, "depth", market)
    if not positions and not isinstance(last_epoch, int):
        return None
    gaps = read_gaps(backend, market)
    open_gaps = {gap.stream: gap for gap in gaps if gap.to_ns is None}
    unfilled = [
        Unfilled(gap)
        for gap in gaps
        if gap.stream in FETCHED_AFTERWARDS and gap.reason != "quarantine" and gap.to_ns is not None and not gap.healed
    ]
    epoch = last_epoch if isinstance(last_epoch, int) else None
    last_ns = max((position.recv_ns for position in positions.values()), default=(epoch or 0) * SECOND_NS)
    listened = _listened(backend, market)
    for stream in listened - positions.keys():
        if (table := table_of(stream)) in ("klines", "partial_depth"):
            _, ended_ns = ends(backend, table, market)
            if ended_ns is not None:
                positions[stream] = Position(None, min(ended_ns, last_ns))
    unheard = tuple(sorted(listened - positions.keys()))
    resume = Resume(positions, open_gaps, epoch, last_ns, unfilled[-_REMEMBERED:], unheard=unheard)
    return with_stored(backend, market, resume)


def _listened(backend: Backend, market: Market) -> set[str]:
    """The streams of the last session that connected."""
    listened: set[str] = set()
    begins = False
    for rows in backend.scan("events", market, None, None, ("kind", "detail")):
        for kind, detail in zip(rows.column("kind").to_pylist(), rows.column("detail").to_pylist(), strict=True):
            if kind == "session_started":
                begins = True
            elif kind == "opened" and detail:
                listened = set(detail.split(", ")) | (set() if begins else listened)
                begins = False
    return listened


def with_stored(backend: Backend, market: Market, resume: Resume) -> Resume:
    """`resume` with the trades that somebody else, a backfill, has stored since: neither missing nor to be fetched.

    Raises:
        BackendError: the store cannot be read.
    """
    if market.exchange not in FUTURES:
        return resume
    positions = dict(resume.positions)
    for stream in FETCHED_AFTERWARDS:
        if stream in positions:
            positions[stream] = _followed(backend, market, stream, positions[stream])
    unfilled = [_filled(backend, market, one) for one in resume.unfilled]
    return msgspec.structs.replace(resume, positions=positions, unfilled=[one for one in unfilled if one.missing])


def _followed(backend: Backend, market: Market, stream: str, position: Position) -> Position:
    """The position after all trades that follow on it without a hole."""
    if position.last_id is None or position.event_ms is None:
        return position
    last_id, stored_ns, made_ms = position.last_id, 0, 0
    columns = (_KEYS[stream], "recv_ns", "timestamp")
    for rows in backend.scan(stream, market, position.event_ms * 1_000_000 - _NEAR_NS, None, columns):
        ids = rows.column(0).to_numpy()
        start = int(ids.searchsorted(last_id, side="right"))
        wanted = range(last_id + 1, last_id + 1 + len(ids) - start)
        count = int((ids[start:] == wanted).cumprod().sum()) if start < len(ids) else 0
        if count:
            at = start + count - 1
            last_id, stored_ns, made_ms = (int(rows.column(column)[at].as_py()) for column in range(3))
        if start + count < len(ids):
            break
    if last_id == position.last_id:
        return position
    # A message with such an id that comes now was sent before the trade was stored, so it is no new count.
    return msgspec.structs.replace(
        position,
        last_id=last_id,
        recv_ns=max(position.recv_ns, made_ms * 1_000_000),
        event_ms=max(position.event_ms, stored_ns // 1_000_000),
    )


def _filled(backend: Backend, market: Market, unfilled: Unfilled) -> Unfilled:
    gap = unfilled.gap
    if gap.from_id is None or gap.to_id is None or gap.to_ns is None:
        return unfilled
    filled = IdRanges(unfilled.filled)
    for first, last in stored_ids(backend, market, gap.stream, gap.from_ns - _NEAR_NS, gap.to_ns + _NEAR_NS):
        filled.add(max(first, gap.from_id), min(last, gap.to_id))
    return Unfilled(gap, list(filled))
