"""What the markets gave, into the journal: rows and what each market remembers in one commit, refusals as gaps."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from collector.core.batch import Batch
from collector.core.epochs import SECOND_NS
from collector.core.features.across import Across
from collector.core.inputs import Note, Refused, Resume
from collector.errors import MachineFailed
from collector.journal.plans import Damage
from collector.refusals import BY_BACKEND, KEPT, WAITING, Kept, Refusals, damaged_rows, gap_rows
from storage_backends.interface import Market

if TYPE_CHECKING:
    from collector.clock import Clock
    from collector.coverage_log import CoverageLog
    from collector.hot_writer import HotWriter
    from collector.journal.journal import Journal
    from collector.live_market import LiveMarket
    from collector.observers import Observers
    from collector.venue import Venue

log = logging.getLogger(__name__)

Rows = list[tuple[Market, Batch]]

_STATED_WITHIN_NS = 5 * SECOND_NS
"""A gap of dead letters is committed so long after the refusal, or the process was killed before."""


class Committer:
    """One for a run. `journal` is set before the first commit, and stays None when nothing is stored."""

    def __init__(
        self,
        venues: Sequence[Venue],
        clock: Clock,
        observers: Observers,
        coverage: CoverageLog,
        hot: HotWriter | None,
        across: Across | None,
    ) -> None:
        self.journal: Journal | None = None
        self._venues = venues
        self._clock = clock
        self._observers = observers
        self._coverage = coverage
        self._hot = hot
        self._across = across
        self._kept = Kept()
        self._refusals = Refusals()
        self._whole: dict[Market, bytes] = {}  # as of the last commit with all rows
        self._drained_ns: dict[Market, int] = {}
        self._known: set[Market] = set()  # what the journal remembers something of
        self._loop: asyncio.AbstractEventLoop | None = None
        self._finished = False
        self._finishing = threading.Lock()  # held while `_finished` decides about a gap

    @property
    def refusing(self) -> bool:
        """Whether rows were refused that are not yet a gap."""
        return bool(self._refusals)

    @property
    def behind(self) -> bool:
        """Whether anything waits in memory for a journal that took nothing."""
        return bool(self._refusals or self._kept)

    def begin(self) -> None:
        """From the event loop, before the deliverer starts."""
        self._loop = asyncio.get_running_loop()

    async def commit(self, *, over_budget: bool = False) -> None:
        """Puts every row since the last commit, and what each market remembers, into the journal at once.

        `over_budget`: new rows are refused, for lack of room that we may use.

        Raises:
            MachineFailed: the disk failed.
        """
        drained_ns = self._clock.now_ns()
        rows, states = self._take()
        journal = self.journal
        if journal is None:
            self._begun(states)
            return
        from collector.journal.errors import DiskFull, JournalFailed, JournalFull

        interrupted = over_budget or self.refusing
        batches, held = self._kept.batches + rows, list[tuple[Market, Batch]]()
        try:
            if over_budget:
                batches, held, states = self._events_alone(batches)
            elif self._refusals:
                await asyncio.to_thread(journal.check_room, batches)
                more, states = self._state_refusals()
                batches += more
            entries = await asyncio.to_thread(journal.commit, batches, states)
        except (JournalFull, DiskFull) as error:
            if not interrupted:
                log.error("new rows are refused, and will be a gap: %s", error)
            reason = "journal full" if isinstance(error, JournalFull) else "disk full"
            self._refusals.add(self._kept.keep(held + self._refuse(batches, reason, WAITING)), reason)
            await self._commit_beginnings()
            return
        except JournalFailed as error:
            raise MachineFailed(str(error)) from error
        self._known |= states.keys()
        if not over_budget:
            self._whole |= states
            self._begun(states)
        self._kept.keep(held)
        for market, text in self._kept.take_left_out():
            self._live(market).apply(self._clock.now_ns(), Note("events_lost", text))
        self._observers.committed(drained_ns)
        self._coverage.committed(batches, interrupted=interrupted)
        if self._hot is not None:
            self._hot.offer(entries)
        if interrupted and not over_budget:
            log.warning("rows are stored again; what was refused is a gap")

    async def finish(self) -> None:
        """Commits the last rows of markets that take no more inputs."""
        with self._finishing:
            self._finished = True
        await asyncio.sleep(0)  # for what the deliverer's thread has told until now
        await self.commit()
        if self.refusing:
            # There was no room for the last rows; there may be for the gaps that say so.
            await self.commit()

    def refused_by_backend(self, market: Market, batches: list[Batch]) -> None:
        """What the backend will never have is a gap of the store. From the deliverer's thread."""
        refusals = Refusals()
        refusals.add([(market, batch) for batch in batches if batch.table not in KEPT], BY_BACKEND)
        self._state(market, [refused for _, refused in refusals.take()])

    def damaged(self, market: Market, damage: Damage) -> None:
        """What the journal's file holds no more is a gap of the store. From the deliverer's thread."""
        self._state(market, [damaged_rows(damage)])

    def state_unsaid(self, known: Mapping[Market, Resume]) -> None:
        """States gaps of dead letters whose process was killed before it could. Once, before any market begins.

        `known` says up to when the commits of each market reach: a gap is in the first one after the refusal. Gaps that
        were stated after all are stated twice, under two names, which says the same.
        """
        assert self.journal is not None
        unsaid: dict[Market, dict[int, int]] = {}
        for id_, (market, refused_ns) in self.journal.refused_ns().items():
            committed_ns = known[market].last_ns if market in known else 0
            if refused_ns > committed_ns - _STATED_WITHIN_NS:
                unsaid.setdefault(market, {})[id_] = refused_ns
        for market, letters in unsaid.items():
            refusals, damaged = Refusals(), []
            for _, table, _, created_ns, batch in self.journal.dead_letters(letters):
                if batch is None:
                    damaged.append((market, damaged_rows(Damage(table, None, None, created_ns, created_ns))))
                elif table not in KEPT:
                    refusals.add([(market, batch)], BY_BACKEND)
            # Not the present time: a market that is not collected any more would get new gaps at each start.
            self._commit_refused(gap_rows([*refusals.take(), *damaged], max(letters.values())))

    async def _commit_beginnings(self) -> None:
        """Lets the journal know of markets that began without room: the next start must state their gaps."""
        from collector.journal.errors import DiskFull, JournalFailed, JournalFull

        assert self.journal is not None
        beginnings = {market: whole for market, whole in self._whole.items() if market not in self._known}
        if beginnings:
            try:
                await asyncio.to_thread(self.journal.commit, [], beginnings)
            except (JournalFull, DiskFull):
                return
            except JournalFailed as error:
                raise MachineFailed(str(error)) from error
            self._known |= beginnings.keys()
            self._begun(beginnings)

    def _state(self, market: Market, gaps: list[Refused]) -> None:
        running = any(venue.exchange == market.exchange and market.symbol in venue.markets for venue in self._venues)
        with self._finishing:
            if running and not self._finished and self._loop is not None:
                for refused in gaps:
                    self._loop.call_soon_threadsafe(self._state_refused, market, refused)
                return
        self._commit_refused(gap_rows([(market, refused) for refused in gaps], self._clock.now_ns()))

    def _take(self) -> tuple[Rows, dict[Market, bytes]]:
        """Every row since the last call, and what each market remembers."""
        markets = [
            (venue, Market(venue.exchange, symbol), live)
            for venue in self._venues
            for symbol, live in venue.markets.items()
        ]
        drained: list[tuple[Market, list[Batch]]] = []
        states: dict[Market, bytes] = {}
        for venue, market, live in markets:
            self._whole.setdefault(market, live.remembered)
            batches = live.drain()
            drained.append((market, batches))
            states[market] = live.remembered
            self._observers.drained(venue, market.symbol, batches)
            resume = live.market.resume()
            self._drained_ns[market] = resume.last_ns
            self._coverage.reached(market, resume.positions)
        return self._joined(drained), states

    def _state_refusals(self) -> tuple[Rows, dict[Market, bytes]]:
        """What was refused becomes gaps; gives them, with all else since the last call, and what markets remember.

        Only where there is room, so that it is one gap a stream and not one a second.
        """
        now_ns = self._clock.now_ns()
        for venue in self._venues:
            venue.recorder.tick(now_ns)
        for market, refused in self._refusals.take():
            self._live(market).apply(now_ns, refused)
        return self._take()

    def _events_alone(self, batches: Rows) -> tuple[Rows, Rows, dict[Market, bytes]]:
        """What is stored over the budget, what has to wait, and what to remember of each market that gave events.

        While a refusal is not yet a gap, the old states stand: after a crash they make the gap. They note how far
        `events` go beyond them, for a replay. Statements about gaps wait for the states that know them: a session that
        begins with older ones would not end what was opened since, and would not know that what was healed has been
        refused.
        """
        kept = self._refuse(batches, "disk budget")
        held = [one for one in kept if one[1].table == "gaps"]
        states = {}
        for market in {market for market, batch in kept if batch.table == "events"}:
            whole = msgspec.json.decode(self._whole[market], type=Resume)
            states[market] = msgspec.json.encode(
                msgspec.structs.replace(whole, events_until_ns=self._drained_ns[market])
            )
        return [one for one in kept if one[1].table != "gaps"], held, states

    def _joined(self, drained: list[tuple[Market, list[Batch]]]) -> Rows:
        """The rows, with what is computed across markets."""
        if self._across is not None:
            try:
                return _across_markets(self._across, drained)
            except Exception:  # a fault in a formula costs values, not rows
                log.exception("nothing is computed across markets from here on")
                self._across = None
        return [(market, batch) for market, batches in drained for batch in batches]

    def _refuse(self, batches: Rows, reason: str, kept: frozenset[str] = KEPT) -> Rows:
        """Notes what is lost; gives what is kept all the same."""
        self._refusals.add([one for one in batches if one[1].table not in kept], reason)
        return [one for one in batches if one[1].table in kept]

    def _begun(self, states: Iterable[Market]) -> None:
        for market in states:
            self._live(market).begun.set()

    def _live(self, market: Market) -> LiveMarket:
        return next(venue.markets[market.symbol] for venue in self._venues if venue.exchange == market.exchange)

    def _state_refused(self, market: Market, refused: Refused) -> None:
        self._live(market).apply(self._clock.now_ns(), refused)

    def _commit_refused(self, gaps: Rows) -> None:
        """States gaps of a market that takes no more inputs."""
        from collector.journal.errors import DiskFull, JournalFull

        assert self.journal is not None
        try:
            self.journal.commit(gaps, {})
        except (JournalFull, DiskFull) as error:
            log.error("a gap of dead letters could not be stated; see `collector journal`: %s", error)


def _across_markets(across: Across, drained: list[tuple[Market, list[Batch]]]) -> Rows:
    for market, _ in drained:
        across.join(market)
    rows: Rows = []
    for market, batches in drained:
        rows += [(Market(*key), batch) for key, batch in across.take(market, batches)]
    return rows + [(Market(*key), batch) for key, batch in across.settle()]
