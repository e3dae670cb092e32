"""Wires the way of the data: feeds → markets → journal → deliverer → backend, and the console line beside it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from collector import health
from collector.clock import Clock
from collector.console import Console
from collector.consumers import Consumer
from collector.core.batch import Batch
from collector.core.epochs import SECOND_NS
from collector.core.features.across import Across, across
from collector.core.inputs import Note, Refused, Resume, Tick
from collector.coverage_log import CoverageLog
from collector.errors import ConfigurationError, MachineFailed
from collector.hot_writer import HotWriter
from collector.housekeeping import Housekeeping
from collector.observers import Observers
from collector.recorder import LiveMarket
from collector.refusals import BY_BACKEND, KEPT, Kept, Refusals, gap_rows
from collector.settings import RunSettings
from collector.venue import Venue
from storage_backends.interface import Backend, Market

if TYPE_CHECKING:
    from collector.journal.deliverer import Deliverer
    from collector.journal.journal import Journal

log = logging.getLogger(__name__)

_DRAIN_S = 20.0
_WALL_STEP_NS = 200_000_000
_ONE_SIGNAL_NS = 500_000_000
_TICK_SLACK_S = 0.002
_FEED_STOP_S = 6.0
_GC_OBJECTS = 100_000


class Pipeline:
    """A live run from start to exit code. `run` may be called once."""

    def __init__(
        self,
        settings: RunSettings,
        clock: Clock,
        say: Callable[[str], None] = click.echo,
        consumers: Iterable[Consumer] = (),
    ) -> None:
        self.venues = [Venue(exchange, settings, clock) for exchange in settings.exchanges]
        """One an exchange, in the order of the settings."""
        self._observers = Observers(settings, clock, self.venues, consumers)
        self._settings = settings
        self._clock = clock
        self._say = say
        self._stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop
        self._failed = False
        self._stopped_ns = 0
        self._journal: Journal | None = None
        self._deliverer: Deliverer | None = None
        self._backend: Backend | None = None
        self._delivery: asyncio.Future[None] | None = None
        self._delivery_stop = threading.Event()
        self._hot = HotWriter(settings.data_dir) if settings.hot and not settings.dry_run else None
        self._hot_stop = threading.Event()
        self._heating: asyncio.Future[None] | None = None
        self._kept = Kept()
        self._coverage = CoverageLog(self.venues)
        self._refusals = Refusals()
        self._drained = False
        """Whether the markets have given their last rows."""
        self._housekeeping = Housekeeping(settings, clock, self._open_captures, self._note)
        self._chores: asyncio.Task[None] | None = None
        self._wall_step_ns = 0
        self._console = Console(say)
        self._across = Across() if across(settings.features) else None

    async def run(self) -> None:
        """Collects until a signal, or for the duration that is set; drains, and returns.

        Raises:
            ConfigurationError: at start; nothing that was stored before is touched.
            MachineFailed: the disk failed.
        """
        loop = self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        resumes = self._open()
        feeds: list[asyncio.Task[None]] = []
        try:
            await self._start_venues()
            if self._stop.is_set():
                return
            for venue in self.venues:
                venue.begin(self._resumes(venue, resumes))
            self._observers.begin()
            self._note_set_aside()
            if self._deliverer is not None:
                self._delivery = loop.run_in_executor(None, self._deliverer.run, self._delivery_stop)
            if self._hot is not None:
                self._heating = loop.run_in_executor(None, self._hot.run, self._hot_stop)
            self._announce()
            gc.collect()
            gc.freeze()
            # What a message leaves is freed by counting references, so hardly any cycles are there to be found. Looking
            # for them each 700 objects is a tenth of the cost of a message, each 20,000 still a fiftieth.
            gc.set_threshold(_GC_OBJECTS, 10, 10)
            self._chores = asyncio.create_task(self._housekeeping.run(), name="housekeeping")
            feeds = [asyncio.create_task(venue.feed.run(), name=venue.exchange) for venue in self.venues]
            feeds += [asyncio.create_task(venue.history.run()) for venue in self.venues if venue.history is not None]
            await self._collect(feeds)
        except MachineFailed:
            self._failed = True
            raise
        finally:
            await self._finish(feeds)

    # -- start

    def _open(self) -> dict[Market, Resume]:
        """Opens journal and backend; gives what each market remembers."""
        settings = self._settings
        if settings.dry_run:
            return {}
        from collector.journal.deliverer import Deliverer, DeliveryLimits, pauses_up_to
        from collector.journal.errors import DiskFull, JournalError, JournalFailed
        from collector.journal.format import JOURNAL_FILE
        from collector.journal.journal import Journal
        from storage_backends.errors import BackendError, StorageFull, TransientBackendError
        from storage_backends.open import open_store

        journal_path = settings.data_dir / JOURNAL_FILE
        try:
            backend = self._backend = open_store(settings.store)
            backend.check()
        except ValueError as error:
            raise ConfigurationError("--backend", settings.store.backend, str(error)) from error
        except BackendError as error:
            # Once a collector has worked here, it collects into its journal until the backend is back.
            away = isinstance(error, TransientBackendError) and not isinstance(error, StorageFull)
            if away and journal_path.exists():
                log.warning("the backend is away: %s", error)
            else:
                raise ConfigurationError(*settings.store.place, f"cannot be written to: {error}") from error
        try:
            self._journal = Journal.open(journal_path, max_bytes=settings.journal_max_bytes, clock=self._clock)
        except (JournalFailed, DiskFull) as error:
            raise ConfigurationError("--data-dir", settings.data_dir, f"cannot hold the journal: {error}") from error
        except JournalError as error:
            raise ConfigurationError("--data-dir", settings.data_dir, str(error)) from error
        self._coverage.collector_id = self._journal.collector_id
        self._deliverer = Deliverer(
            self._journal,
            backend,
            clock=self._clock,
            limits=DeliveryLimits(flush_interval_s=settings.flush_interval_s, max_rows=settings.max_batch_rows),
            on_event=self._delivery_event,
            on_refused=self._delivery_refused,
            wait=pauses_up_to(min(60.0, max(15.0, settings.flush_interval_s))),
        )
        return {market: msgspec.json.decode(body, type=Resume) for market, body in self._journal.states().items()}

    async def _start_venues(self) -> None:
        """Starts every feed; a stop signal meanwhile ends the wait."""
        starting: asyncio.Future[Any] = asyncio.gather(*(venue.start() for venue in self.venues))
        stopping: asyncio.Future[Any] = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
        finally:
            stopping.cancel()
            if not starting.done():
                starting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await starting

    def _resumes(self, venue: Venue, known: dict[Market, Resume]) -> dict[Market, Resume]:
        """What the journal remembers of a venue's markets, or else the store."""
        if self._backend is None:
            return known
        from collector.resume import resume_from_store, with_stored
        from storage_backends.errors import BackendError

        found = dict(known)
        for info in venue.feed.markets:
            market = Market(venue.exchange, info.symbol)
            try:
                if market in found:
                    found[market] = with_stored(self._backend, market, found[market])
                    continue
                resume = resume_from_store(self._backend, market)
            except BackendError as error:
                log.warning("what is stored of %s is not looked at: %s", info.unified, error)
                continue
            if resume is not None:
                found[market] = resume
        return found

    def _note_set_aside(self) -> None:
        if self._journal is not None and self._journal.set_aside is not None:
            path, why = self._journal.set_aside
            text = f"the journal could not be read ({why}) and was set aside as {path}"
            log.error("%s", text)
            for venue in self.venues:
                venue.recorder.event(self._clock.now_ns(), None, "journal_set_aside", text)

    def _announce(self) -> None:
        settings = self._settings
        count = sum(len(venue.markets) for venue in self.venues)
        where = "nowhere (dry run)" if settings.dry_run else f"{settings.store.backend}, {settings.store.place[1]}"
        what = f"{', '.join(settings.streams)} of {count} markets from {', '.join(settings.exchanges)}"
        self._say(f"collecting {what}; storing: {where}")

    # -- run

    async def _collect(self, feeds: list[asyncio.Task[None]]) -> None:
        """Ticks and commits at the end of each second until told to stop."""
        settings, clock = self._settings, self._clock
        end_ns = None if settings.duration_s is None else clock.now_ns() + round(settings.duration_s * SECOND_NS)
        while not self._stop.is_set():
            now_ns = clock.now_ns()
            if end_ns is not None and now_ns >= end_ns:
                break
            next_ns = (now_ns // SECOND_NS + 1) * SECOND_NS
            wait_s = (min(next_ns, end_ns or next_ns) - now_ns) / 1e9 + _TICK_SLACK_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._stop.wait()
            self._tick()
            await self._commit()
            self._beat()
            await self._observers.second(
                journal=self._journal, deliverer=self._deliverer, refusing=bool(self._refusals or self._kept)
            )
            for task in (*feeds, self._delivery, self._chores):
                if task is not None and task.done():
                    self._ended(task)

    def _tick(self) -> None:
        now_ns = self._clock.now_ns()
        for venue in self.venues:
            venue.recorder.may_heal = not self._refusals
            for live in venue.markets.values():
                live.apply(now_ns, Tick())
        self._coverage.tick(now_ns)
        step_ns = self._clock.wall_step_ns()
        if abs(step_ns - self._wall_step_ns) > _WALL_STEP_NS:
            log.warning(
                "the wall clock stepped by %.3f s; stamps go on by the old one", (step_ns - self._wall_step_ns) / 1e9
            )
            for venue in self.venues:
                venue.recorder.clock_row(now_ns, "step", step_ns, None, None)
            self._wall_step_ns = step_ns
        self._observers.epochs()
        lines = [(live.name, live.market.latest) for venue in self.venues for live in venue.markets.values()]
        self._console.show(lines, sum(venue.recorder.frames for venue in self.venues), now_ns)

    def _take_rows(self) -> tuple[list[tuple[Market, Batch]], dict[Market, bytes]]:
        """Every row since the last call, and what each market remembers."""
        markets = [
            (venue, Market(venue.exchange, symbol), live)
            for venue in self.venues
            for symbol, live in venue.markets.items()
        ]
        rows: list[tuple[Market, Batch]] = []
        states: dict[Market, bytes] = {}
        if self._across is not None:
            for _, market, _ in markets:
                self._across.join(market)
        for venue, market, live in markets:
            drained = live.drain()
            self._observers.drained(venue, market.symbol, drained)
            if self._across is None:
                rows += [(market, batch) for batch in drained]
            else:
                rows += [(Market(*key), batch) for key, batch in self._across.take(market, drained)]
            resume = live.market.resume()
            states[market] = msgspec.json.encode(resume)
            self._coverage.reached(market, resume.positions)
        if self._across is not None:
            rows += [(Market(*key), batch) for key, batch in self._across.settle()]
        return rows, states

    async def _commit(self) -> None:
        """Puts every row since the last commit, and what each market remembers, into the journal at once."""
        drained_ns = self._clock.now_ns()
        rows, states = self._take_rows()
        journal = self._journal
        if journal is None:
            return
        from collector.journal.errors import DiskFull, JournalFailed, JournalFull

        # While a refusal is not yet a gap, the old states stand: after a crash they make the gap.
        unspoken = bool(self._refusals)
        batches = self._kept.batches + rows
        refusing = self._housekeeping.over_budget
        if refusing:
            self._refusals.add([one for one in batches if one[1].table not in KEPT], "disk budget")
            batches = [one for one in batches if one[1].table in KEPT]
            unspoken = True
        try:
            await asyncio.to_thread(journal.commit, batches, {} if unspoken else states)
        except (JournalFull, DiskFull) as error:
            if not unspoken:
                log.error("new rows are refused, and will be a gap: %s", error)
            reason = "journal full" if isinstance(error, JournalFull) else "disk full"
            self._refusals.add([one for one in batches if one[1].table not in KEPT], reason)
            self._kept.keep(one for one in batches if one[1].table in KEPT)
            return
        except JournalFailed as error:
            raise MachineFailed(str(error)) from error
        self._kept.keep(())
        for market, text in self._kept.take_left_out():
            self._live(market).apply(self._clock.now_ns(), Note("events_lost", text))
        self._observers.committed(drained_ns)
        self._coverage.committed(batches, interrupted=unspoken)
        if self._hot is not None:
            self._hot.offer(batches)
        if unspoken and not refusing:
            log.warning("rows are stored again; what was refused is a gap")
            now_ns = self._clock.now_ns()
            for market, refused in self._refusals.take():
                self._live(market).apply(now_ns, refused)

    def _beat(self) -> None:
        if not self._settings.dry_run:
            # A full disk is told of by the journal; where the file cannot be touched, its age tells.
            with contextlib.suppress(OSError):
                health.beat(self._settings.data_dir)

    def _open_captures(self) -> set[Path]:
        """The files that captures are written to now."""
        paths = {live.capture_path for venue in self.venues for live in venue.markets.values()}
        return {path for path in paths if path is not None}

    def _live(self, market: Market) -> LiveMarket:
        return next(venue.markets[market.symbol] for venue in self.venues if venue.exchange == market.exchange)

    def _ended(self, task: asyncio.Future[None]) -> None:
        """A task came to an end by itself, which only a failure of the machine or a bug can do."""
        error = task.exception()
        if error is not None:
            raise MachineFailed(f"stopped: {error}") from error

    def _delivery_event(self, now_ns: int, market: Market | None, kind: str, detail: str) -> None:
        """Called on the deliverer's thread."""
        log.warning("%s: %s", kind.replace("_", " "), detail)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is about to end
            self._loop.call_soon_threadsafe(self._note, now_ns, market, kind, detail)

    def _delivery_refused(self, market: Market, batches: list[Batch]) -> None:
        """Called on the deliverer's thread: what the backend will never have is a gap of the store."""
        refusals = Refusals()
        refusals.add([(market, batch) for batch in batches if batch.table not in KEPT], BY_BACKEND)
        taken = refusals.take()
        running = any(venue.exchange == market.exchange and market.symbol in venue.markets for venue in self.venues)
        if running and not self._drained:
            for _, refused in taken:
                self._loop.call_soon_threadsafe(self._state_refused, market, refused)
        else:
            self._commit_refused(gap_rows(taken, self._clock.now_ns()))

    def _state_refused(self, market: Market, refused: Refused) -> None:
        self._live(market).apply(self._clock.now_ns(), refused)

    def _commit_refused(self, gaps: list[tuple[Market, Batch]]) -> None:
        """States gaps of a market that takes no more inputs."""
        from collector.journal.errors import DiskFull, JournalFull

        assert self._journal is not None
        try:
            self._journal.commit(gaps, {})
        except (JournalFull, DiskFull) as error:
            log.error("a gap of dead letters could not be stated; see `collector journal`: %s", error)

    # -- end

    def _signalled(self) -> None:
        now_ns = self._clock.now_ns()
        if self._stop.is_set():
            if now_ns - self._stopped_ns < _ONE_SIGNAL_NS:
                return  # a wrapper passed on what the whole group got
            log.warning("stopped by a second signal; what is in the journal stays there")
            os._exit(1)
        self._stopped_ns = now_ns
        self._stop.set()

    async def _finish(self, feeds: list[asyncio.Task[None]]) -> None:
        """Stops taking, keeps what was taken, delivers what can be delivered, gives everything back."""
        self._coverage.state(self._clock.now_ns())
        now_ns = self._clock.now_ns()
        for venue in self.venues:
            venue.recorder.stop(now_ns, "stopped")
        for task in feeds:
            task.cancel()
        if self._chores is not None:
            self._chores.cancel()
            await asyncio.wait([self._chores])
            # What was refused up to here is stated by the last commits.
            self._housekeeping.over_budget = False
        if feeds:
            await asyncio.wait(feeds, timeout=_FEED_STOP_S)
        await asyncio.gather(*(venue.feed.close() for venue in self.venues))
        await self._observers.stop()
        try:
            self._drained = True
            await asyncio.sleep(0)  # for what the deliverer's thread has told until now
            if feeds and not self._failed:
                unspoken = bool(self._refusals)
                await self._commit()
                if unspoken or self._refusals:
                    # The first one made gaps of what was refused; they want to be stored too.
                    await self._commit()
            await self._drain()
        finally:
            self._hot_stop.set()
            if self._heating is not None:
                await asyncio.wait([self._heating])
            for venue in self.venues:
                for live in venue.markets.values():
                    live.close()
            if self._journal is not None:
                self._journal.close()
            if self._backend is not None:
                self._backend.close()

    async def _drain(self) -> None:
        """Takes the journal's rest to the backend, for as long as a stop may take."""
        if self._delivery is None or self._deliverer is None or self._journal is None:
            return
        self._delivery_stop.set()
        await asyncio.wait([self._delivery])
        if self._failed or self._delivery.exception() is not None:
            return
        from collector.journal.errors import JournalError
        from storage_backends.errors import BackendError

        deadline_ns = self._clock.now_ns() + round(_DRAIN_S * SECOND_NS)
        try:
            done = await asyncio.to_thread(self._deliverer.drain, deadline_ns)
        except (BackendError, JournalError) as error:
            raise MachineFailed(str(error)) from error
        if done:
            self._say(f"stopped; everything is stored in {self._settings.store.place[1]}")
            return
        rows = sum(group.rows for group in self._journal.groups())
        rows += sum(plan.rows for plan in self._journal.open_plans())
        self._say(
            f"stopped; the backend is away, so {rows:,} rows stay in {self._journal.path} "
            f"and are delivered at the next start (last error: {self._deliverer.counts.last_error})"
        )

    def _note(self, now_ns: int, market: Market | None, kind: str, detail: str) -> None:
        for venue in self.venues:
            if market is None or market.exchange == venue.exchange:
                venue.recorder.event(max(now_ns, self._clock.now_ns()), market and market.symbol, kind, detail)
