"""Klines and funding rates between two times."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from collector.backfill.archive import kline_rows
from collector.backfill.outcome import Outcome
from collector.backfill.plan import kline_requests, time_spans
from collector.backfill.rows import rest_funding, rest_klines
from collector.backfill.sink import WRITER, Sink
from collector.core.channels import INTERVALS_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.backfill.archive import ArchiveFile
    from collector.backfill.rest import Rest
    from collector.clock import Clock
    from storage_backends.interface import Backend, Market

_PAGES = {"binance": 1000, "binanceusdm": 1500}
_FUNDING_PAGE = 1000
_FUNDING_MS = 8 * 3_600_000 + 60_000  # the longest interval, and some room: they come a few ms late


class Wanted(NamedTuple):
    """One market's rows in [start_ns, end_ns). `interval` is that of klines, empty for funding rates."""

    market: Market
    interval: str
    start_ns: int
    end_ns: int


class _Backfill:
    """One run for one market."""

    table: ClassVar[str]

    def __init__(
        self,
        wanted: Wanted,
        backend: Backend,
        clock: Clock,
        *,
        max_rows: int,
        expect: Callable[[int], None],
        done: Callable[[int], None],
    ) -> None:
        """`expect` is told how many more rows there are to come, `done` how many came."""
        self.outcome = Outcome(*wanted.market, self.table)
        self._wanted = wanted
        self._backend = backend
        self._clock = clock
        self._expect = expect
        self._done = done
        # Other intervals have files of the same times.
        writer = f"{WRITER}-{wanted.interval}" if wanted.interval else WRITER
        self._sink = Sink(backend, wanted.market, self.table, clock, max_rows=max_rows, writer=writer)
        self._have: set[int] = set()


class KlinesBackfill(_Backfill):
    """One run for one market and interval. Only klines that are over are stored."""

    table = "klines"

    async def run(self, archives: list[ArchiveFile], rest: Rest | None) -> None:
        """Fills what can be filled. What was fetched when it is cancelled is stored.

        Raises:
            CollectorError: the store refused or failed, an archive is damaged, or the exchange cannot be reached.
        """
        wanted = self._wanted
        columns = ("open_time", "interval", "closed")
        for rows in self._backend.scan("klines", wanted.market, wanted.start_ns, wanted.end_ns, columns):
            mine = pc.and_(pc.equal(rows.column("interval"), wanted.interval), rows.column("closed"))
            self._have.update(rows.column("open_time").filter(mine).to_pylist())
        self.outcome.known = len(self._have)
        start_ms, end_ms = -(-wanted.start_ns // 1_000_000), -(-wanted.end_ns // 1_000_000)
        try:
            for archive in archives:
                for rows in kline_rows(archive, wanted.interval, self._clock.now_ns()):
                    self.outcome.archive += self._take(rows, start_ms, end_ms)
            if rest is not None:
                await self._fetch(rest, start_ms, end_ms)
        finally:
            self._sink.flush()
        self.outcome.first_id, self.outcome.last_id = min(self._have, default=None), max(self._have, default=None)

    async def _fetch(self, rest: Rest, start_ms: int, end_ms: int) -> None:
        symbol, interval = self._wanted.market.symbol, self._wanted.interval
        interval_ms = INTERVALS_MS[interval]
        end_ms = min(end_ms, self._clock.now_ns() // 1_000_000 - interval_ms + 1)
        page = _PAGES[self._wanted.market.exchange]
        requests = list(kline_requests(self._have, start_ms, end_ms, interval_ms, page))
        self._expect(sum(limit for _, limit in requests))
        for from_ms, limit in requests:
            last_ms = from_ms + (limit - 1) * interval_ms
            response = await rest.get(
                "klines", symbol=symbol, interval=interval, startTime=from_ms, endTime=last_ms, limit=limit
            )
            self.outcome.requests += 1
            now_ms = self._clock.now_ns() // 1_000_000
            rows = rest_klines(interval, response.body, response.recv_ns, now_ms)
            self.outcome.rest += self._take(rows, from_ms, last_ms + 1, expected=limit)

    def _take(self, rows: pa.Table, start_ms: int, end_ms: int, expected: int = 0) -> int:
        times = rows.column("open_time").to_pylist()
        wanted = [start_ms <= one < end_ms and one not in self._have for one in times]
        new = rows.filter(pa.array(wanted, pa.bool_()))
        self._have.update(new.column("open_time").to_pylist())
        self._sink.add(new)
        if not expected:
            self._expect(len(new))
        self._done(max(expected, len(new)))
        return len(new)


class FundingBackfill(_Backfill):
    """One run for one futures market."""

    table = "funding"

    async def run(self, archives: list[ArchiveFile], rest: Rest | None) -> None:
        """Fills what is missing between the rates that are stored; there are no archives of it here. Raises as
        `KlinesBackfill.run`."""
        wanted = self._wanted
        have = [
            one
            for rows in self._backend.scan("funding", wanted.market, wanted.start_ns, wanted.end_ns, ("funding_time",))
            for one in rows.column(0).to_pylist()
        ]
        self.outcome.known = len(have)
        start_ms, end_ms = -(-wanted.start_ns // 1_000_000), -(-wanted.end_ns // 1_000_000)
        end_ms = min(end_ms, self._clock.now_ns() // 1_000_000)
        known = set(have)
        try:
            if rest is not None:
                for from_ms, until_ms in time_spans(have, start_ms, end_ms, _FUNDING_MS):
                    await self._span(rest, known, from_ms, until_ms)
        finally:
            self._sink.flush()
        self.outcome.first_id, self.outcome.last_id = min(known, default=None), max(known, default=None)

    async def _span(self, rest: Rest, known: set[int], from_ms: int, until_ms: int) -> None:
        while from_ms < until_ms:
            response = await rest.get(
                "fundingRate",
                symbol=self._wanted.market.symbol,
                startTime=from_ms,
                endTime=until_ms - 1,
                limit=_FUNDING_PAGE,
            )
            self.outcome.requests += 1
            rows = rest_funding(response.body, response.recv_ns)
            times = rows.column("funding_time").to_pylist()
            new = rows.filter(pa.array([one not in known for one in times], pa.bool_()))
            known.update(times)
            self._expect(len(new))
            self._sink.add(new)
            self._done(len(new))
            self.outcome.rest += len(new)
            if len(times) < _FUNDING_PAGE:
                return
            from_ms = max(times) + 1
