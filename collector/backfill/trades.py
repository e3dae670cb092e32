"""Trades between two times: what is stored stays, what is missing comes from archive files and by REST."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from collector.backfill.archive import trade_rows
from collector.backfill.outcome import Outcome, OutOfReach
from collector.backfill.plan import id_requests
from collector.backfill.rows import trade_table
from collector.backfill.sink import Sink
from collector.core.ids import IdRanges
from collector.sources.errors import RestError
from collector.sources.trade_pages import PAGE, TOO_OLD, PageEnds, ends_of, oldest_ms, pages_of
from collector.stored import inside, live_position, ranges_of, stored_ids, waiting_ids

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from collector.backfill.archive import ArchiveFile
    from collector.backfill.rest import Rest
    from collector.clock import Clock
    from storage_backends.interface import Backend, Market

BEYOND = (
    "older than the 48 hours that futures' REST gives; the exchange's daily files have it: "
    "put {symbol}-{kind}-YYYY-MM-DD.zip of data.binance.vision into a folder and name it with --archive"
)
NOT_GIVEN = "the exchange does not give these ids"
NEWEST_ONLY = "without a key futures' REST gives single trades only of the last moments; its daily files have them"


class Wanted(NamedTuple):
    """One market's trades in [start_ns, end_ns). `channel` is the table: `trades` or `raw_trades`."""

    market: Market
    channel: str
    start_ns: int
    end_ns: int


class TradesBackfill:
    """One run for one market; `outcome` tells how it went."""

    def __init__(
        self,
        wanted: Wanted,
        backend: Backend,
        data_dir: Path,
        clock: Clock,
        *,
        max_rows: int,
        expect: Callable[[int], None],
        done: Callable[[int], None],
    ) -> None:
        """`expect` is told how many more rows there are to come, `done` how many came."""
        market, channel = wanted.market, wanted.channel
        self.outcome = Outcome(market.exchange, market.symbol, channel)
        self._wanted = wanted
        self._backend = backend
        self._data_dir = data_dir
        self._clock = clock
        self._expect = expect
        self._done = done
        self._pages = pages_of(market.exchange, channel)
        self._sink = Sink(backend, market, channel, clock, max_rows=max_rows)
        self._have = IdRanges()
        self._position: int | None = None  # of a running collector
        self._whole_days: list[tuple[int, int]] = []  # spans in ms that archive files cover
        self._floor: int | None = None  # the first id that REST still gives, once it has refused an older one

    async def run(self, archives: list[ArchiveFile], rest: Rest | None) -> None:
        """Fills what can be filled. What was fetched when it is cancelled is stored.

        Raises:
            CollectorError: the store refused or failed, an archive is damaged, or the exchange cannot be reached.
        """
        wanted = self._wanted
        table, market = wanted.channel, wanted.market
        # Asked for before what is known: what a running collector commits in between must not be fetched as well.
        self._position = live_position(self._data_dir, market, table)
        self._have = waiting_ids(self._data_dir, market, table, wanted.start_ns, wanted.end_ns)
        for first, last in stored_ids(self._backend, market, table, wanted.start_ns, wanted.end_ns):
            self._have.add(first, last)
        self.outcome.known = self._have.total
        try:
            for archive in archives:
                self._read(archive)
            if rest is not None:
                await self._fetch(rest)
        finally:
            self._sink.flush()
        self.outcome.first_id, self.outcome.last_id = self._have.first, self._have.last

    @property
    def have(self) -> IdRanges:
        """The ids of the range that are stored, or wait in a journal."""
        return self._have

    # -- archives

    def _read(self, archive: ArchiveFile) -> None:
        start_ms, end_ms = self._wanted.start_ns // 1_000_000, -(-self._wanted.end_ns // 1_000_000)
        for rows in trade_rows(archive, self._wanted.channel, self._clock.now_ns()):
            ids = rows.column(0).to_numpy()
            times = rows.column("timestamp").to_numpy()
            new = rows.filter((times >= start_ms) & (times < end_ms) & ~inside(self._have, ids))
            for first, last in ranges_of(new.column(0).to_numpy()):
                self._have.add(first, last)
            self._expect(len(new))
            self._sink.add(new)
            self._done(len(new))
            self.outcome.archive += len(new)
        self._whole_days.append((archive.start_ms, archive.end_ms))

    def _covered(self, at_ms: int) -> bool:
        return any(start <= at_ms < end for start, end in self._whole_days)

    # -- REST

    async def _fetch(self, rest: Rest) -> None:
        if not self._pages.by_id:
            await self._newest(rest)
            return
        bounds = await self._bounds(rest)
        if bounds is None:
            return
        missing = self._have.missing(*bounds)
        self._expect(sum(last - first + 1 for first, last in missing))
        for first_id, last_id in missing:
            await self._hole(rest, first_id, last_id)

    async def _hole(self, rest: Rest, first_id: int, last_id: int) -> None:
        """The ids of one range, none of which is stored."""
        for from_id, limit in id_requests(IdRanges(), first_id, last_id, PAGE):
            to_id = from_id + limit - 1
            if self._floor is not None and to_id < self._floor:
                continue
            try:
                await self._page(rest, max(from_id, self._floor or 0), to_id)
            except RestError as error:
                if error.code != TOO_OLD:
                    raise
                self._floor = await self._first_at(rest, oldest_ms(self._clock.now_ns())) or last_id + 1
                if self._floor <= to_id:
                    await self._page(rest, max(from_id, self._floor), to_id)
        for first, last in self._have.missing(first_id, last_id):
            self._lost(first, min(last, (self._floor or 0) - 1), self._beyond)
            self._lost(max(first, self._floor or 0), last, NOT_GIVEN)

    def _lost(self, first_id: int, last_id: int, reason: str) -> None:
        if first_id <= last_id:
            self.outcome.out_of_reach.append(OutOfReach(reason, first_id, last_id))

    async def _page(self, rest: Rest, from_id: int, to_id: int) -> None:
        pages, symbol = self._pages, self._wanted.market.symbol
        response = await rest.get(pages.path, symbol=symbol, fromId=from_id, limit=to_id - from_id + 1)
        self.outcome.requests += 1
        self._take(response.body, response.recv_ns, from_id, to_id)

    def _take(self, body: bytes, recv_ns: int, from_id: int, to_id: int) -> None:
        """Keeps what is in the range: by ids, which were found by its times."""
        rows, unreadable = trade_table(self._wanted.channel, self._wanted.market.symbol, body, recv_ns)
        ids = rows.column(0).to_numpy()
        new = rows.filter((ids >= from_id) & (ids <= to_id) & ~inside(self._have, ids))
        for first, last in ranges_of(new.column(0).to_numpy()):
            self._have.add(first, last)
        self._sink.add(new)
        self._done(len(new))
        self.outcome.rest += len(new)
        self.outcome.unreadable += unreadable

    async def _newest(self, rest: Rest) -> None:
        """All that can be had of single trades of futures."""
        response = await rest.get(self._pages.path, symbol=self._wanted.market.symbol, limit=PAGE)
        self.outcome.requests += 1
        ends = ends_of(response.body)
        start_ms, end_ms = self._wanted.start_ns // 1_000_000, self._wanted.end_ns // 1_000_000
        if ends is not None and ends.first_ms < end_ms:
            rows, _ = trade_table(self._wanted.channel, self._wanted.market.symbol, response.body, 0)
            times = rows.column("timestamp").to_numpy()
            own = rows.column(0).to_numpy()[(times >= start_ms) & (times < end_ms)]
            self._expect(len(own))
            if len(own):
                self._take(response.body, response.recv_ns, int(own[0]), int(own[-1]))
        if ends is None or ends.first_ms > start_ms:
            until_ms = end_ms if ends is None else min(end_ms, ends.first_ms)
            self.outcome.out_of_reach.append(OutOfReach(NEWEST_ONLY, None, None, start_ms, until_ms))

    # -- where the range begins and ends, in ids

    async def _bounds(self, rest: Rest) -> tuple[int, int] | None:
        """The first and the last id wanted; None when there is none, or none can be told."""
        start_ms, end_ms = -(-self._wanted.start_ns // 1_000_000), -(-self._wanted.end_ns // 1_000_000)
        reach_ms = oldest_ms(self._clock.now_ns()) if self._pages.reach_s is not None else 0
        first = await self._first(rest, start_ms, min(end_ms, max(start_ms, reach_ms)), reach_ms)
        last = await self._last(rest, end_ms, reach_ms)
        if self._position is not None and last is not None:
            # What comes from here on is the running collector's to store, or to heal.
            last = min(last, self._position)
        return None if first is None or last is None or first > last else (first, last)

    async def _first(self, rest: Rest, start_ms: int, from_ms: int, reach_ms: int) -> int | None:
        if start_ms >= reach_ms:
            return await self._first_at(rest, start_ms)
        if not self._covered(start_ms):
            until_ms = min(reach_ms, -(-self._wanted.end_ns // 1_000_000))
            known_ms = await self._first_known_ms()
            until_ms = until_ms if known_ms is None else min(until_ms, known_ms)
            if until_ms > start_ms:
                self.outcome.out_of_reach.append(OutOfReach(self._beyond, None, None, start_ms, until_ms))
        at_reach = await self._first_at(rest, from_ms) if from_ms >= reach_ms else None
        return min((one for one in (self._have.first, at_reach) if one is not None), default=None)

    async def _first_known_ms(self) -> int | None:
        """When the oldest trade was made that is stored in the range."""
        wanted = self._wanted
        self._sink.flush()
        for rows in self._backend.scan(wanted.channel, wanted.market, wanted.start_ns, wanted.end_ns, ("timestamp",)):
            return int(rows.column(0)[0].as_py())
        return None

    async def _last(self, rest: Rest, end_ms: int, reach_ms: int) -> int | None:
        if end_ms < reach_ms:
            return self._have.last
        after = await self._first_at(rest, end_ms) if end_ms <= self._clock.now_ns() // 1_000_000 else None
        if after is not None:
            return after - 1
        newest = await self._ask(rest, limit=1)
        return None if newest is None else self._own_id(newest, last=True)

    async def _first_at(self, rest: Rest, at_ms: int) -> int | None:
        """The first id at or after a time, by `startTime` alone; None when there is none yet."""
        ends = await self._ask(rest, startTime=at_ms, limit=1)
        return None if ends is None else self._own_id(ends, last=False)

    async def _ask(self, rest: Rest, **params: int) -> _Aggregate | None:
        response = await rest.get("aggTrades", symbol=self._wanted.market.symbol, **params)
        self.outcome.requests += 1
        ends = ends_of(response.body)
        return None if ends is None else _Aggregate(ends, response.body)

    def _own_id(self, aggregate: _Aggregate, *, last: bool) -> int:
        """Single trades are found by the aggregates that they are in: only those can be asked for by time."""
        if self._wanted.channel == "trades":
            return aggregate.ends.last_id if last else aggregate.ends.first_id
        rows, _ = trade_table("trades", self._wanted.market.symbol, aggregate.body, 0)
        return int(rows.column("last_id")[-1].as_py() if last else rows.column("first_id")[0].as_py())

    @property
    def _beyond(self) -> str:
        kind = "aggTrades" if self._wanted.channel == "trades" else "trades"
        return BEYOND.format(symbol=self._wanted.market.symbol, kind=kind)


class _Aggregate(NamedTuple):
    ends: PageEnds
    body: bytes
