"""Wires the way of the data: feeds → markets → journal → deliverer → backend, and what looks on beside it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from collector import garbage, health, memory
from collector.clock import Clock
from collector.committer import Committer
from collector.console import Console
from collector.consumers import Consumer
from collector.core.epochs import SECOND_NS
from collector.core.features.across import Across, across
from collector.core.inputs import Resume
from collector.coverage_log import CoverageLog
from collector.delivery import Delivery
from collector.errors import MachineFailed
from collector.hot_writer import HotWriter
from collector.housekeeping import Housekeeping
from collector.observers import Observers
from collector.settings import RunSettings
from collector.ticks import named_in
from collector.times import show_ns
from collector.venue import Venue
from storage_backends.interface import Market

if TYPE_CHECKING:
    from collector.journal.deliverer import Deliverer
    from collector.journal.journal import Journal

log = logging.getLogger(__name__)

_WALL_STEP_NS = 200_000_000
_CLOCK_BEHIND_NS = 60 * SECOND_NS
_ONE_SIGNAL_NS = 500_000_000
_TICK_SLACK_S = 0.002
_FEED_STOP_S = 6.0


class Pipeline:
    """A live run from start to exit code. `run` may be called once."""

    def __init__(
        self,
        settings: RunSettings,
        clock: Clock,
        say: Callable[[str], object] = click.echo,
        consumers: Iterable[Consumer] = (),
    ) -> None:
        self.venues = [Venue(exchange, settings, clock) for exchange in settings.exchanges]
        """One an exchange, in the order of the settings."""
        self._collecting = self.venues
        self._settings = settings
        self._clock = clock
        self._say = say
        self._stop = asyncio.Event()
        self._stopped_ns = 0
        self._loop: asyncio.AbstractEventLoop
        self._failed = False
        self._wall_step_ns = 0
        self._console = Console(say)
        self._observers = Observers(settings, clock, self.venues, consumers)
        self._coverage = CoverageLog(self.venues)
        self._heartbeat_folder = Path(health.dry_run_folder()) if settings.dry_run else settings.data_dir
        self._hot = HotWriter(settings.data_dir) if settings.hot and not settings.dry_run else None
        self._hot_stop = threading.Event()
        self._heating: asyncio.Future[None] | None = None
        self._committer = Committer(
            self.venues,
            clock,
            self._observers,
            self._coverage,
            self._hot,
            Across() if across(settings.features) else None,
        )
        self._delivery: Delivery | None = None
        self._housekeeping = Housekeeping(settings, clock, self._open_captures, self._note)
        self._tasks: list[asyncio.Future[None]] = []
        """What runs until the end; each ends by itself only when something failed."""
        self._feeds: list[asyncio.Task[None]] = []
        self._chores: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Collects until a signal, or for the duration that is set; drains, and returns.

        Raises:
            ConfigurationError: at start; nothing that was stored before is touched.
            MachineFailed: the disk failed.
        """
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._signalled)
        known = self._open()
        try:
            await self._start_venues()
            if not self._stop.is_set():
                await self._begin(known)
                await self._collect()
        except BaseException:
            # What is in memory may be half of something. It is not committed: the next start states a gap from where
            # the last commit ended.
            self._failed = True
            raise
        finally:
            await self._finish()

    # -- start

    def _open(self) -> dict[Market, Resume]:
        """Opens journal and backend; gives what each market remembers."""
        if self._settings.dry_run:
            with contextlib.suppress(OSError):
                self._heartbeat_folder.mkdir(mode=0o700, exist_ok=True)
            return {}
        self._committer.begin()
        refused, damaged = self._committer.refused_by_backend, self._committer.damaged
        self._delivery = delivery = Delivery.open(self._settings, self._clock, self._delivery_event, refused, damaged)
        self._committer.journal = delivery.journal
        self._coverage.collector_id = delivery.journal.collector_id
        known = delivery.states()
        self._committer.state_unsaid(known)
        return known

    async def _start_venues(self) -> None:
        """Starts every feed; a stop signal meanwhile ends the wait."""
        starting: asyncio.Future[Any] = asyncio.gather(*(venue.start() for venue in self.venues))
        stopping: asyncio.Future[Any] = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                self._leave_to_others()
        finally:
            stopping.cancel()
            if not starting.done():
                starting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await starting

    def _leave_to_others(self) -> None:
        """Of several exchanges, those count whose markets fall to this collector.

        Raises:
            NotOursError: there is none.
        """
        left = [venue.not_ours for venue in self.venues if venue.not_ours is not None]
        if len(left) == len(self.venues):
            raise left[0]
        for error in left:
            log.warning("%s", error)
        self._collecting = [venue for venue in self.venues if venue.not_ours is None]

    async def _begin(self, known: dict[Market, Resume]) -> None:
        """Begins a session of every market, and starts all that runs beside."""
        for venue in self._collecting:
            resumes = await self._resumes(venue, known)
            self._compare_clock(venue, resumes)
            venue.begin(resumes)
        self._observers.begin()
        self._note_set_aside()
        # Before anything can be heard: after a kill in the first second a market would not know that it had listened.
        for venue in self.venues:
            venue.recorder.tick(self._clock.now_ns())
        await self._committer.commit()
        if self._delivery is not None:
            self._tasks.append(self._delivery.start())
        if self._hot is not None:
            self._heating = self._loop.run_in_executor(None, self._hot.run, self._hot_stop)
        self._announce()
        self._note_left_over()
        garbage.look_rarely()
        self._chores = [
            asyncio.create_task(self._housekeeping.run(), name="housekeeping"),
            asyncio.create_task(garbage.look_each_minute(), name="garbage"),
            asyncio.create_task(memory.keep_giving_back(), name="memory"),
        ]
        self._feeds = [asyncio.create_task(venue.listen(), name=venue.exchange) for venue in self._collecting]
        histories = [venue.history for venue in self._collecting if venue.history is not None]
        self._feeds += [asyncio.create_task(history.run()) for history in histories]
        self._tasks += [*self._chores, *self._feeds]

    async def _resumes(self, venue: Venue, known: dict[Market, Resume]) -> dict[Market, Resume]:
        if self._delivery is None:
            return known
        from collector.resume import resumes_of

        markets = [Market(venue.exchange, info.symbol) for info in venue.feed.markets]
        return await asyncio.to_thread(resumes_of, self._delivery.backend, markets, known)

    def _compare_clock(self, venue: Venue, resumes: dict[Market, Resume]) -> None:
        """Says so where the clock was ahead in an earlier session, or is behind now: nobody can tell which."""
        if self._delivery is None:
            return
        from collector.resume import newest_ns

        ours = {Market(venue.exchange, info.symbol) for info in venue.feed.markets}
        newest = newest_ns(resume for market, resume in resumes.items() if market in ours)
        if newest - self._clock.now_ns() > _CLOCK_BEHIND_NS:
            log.warning(
                "%s: the clock is behind what is stored, which reaches to %s: until then no epochs are written, and "
                "rows of both sessions bear the same times. Is the clock right?",
                venue.exchange,
                show_ns(newest),
                extra={"event": "clock_behind"},
            )

    def _note_set_aside(self) -> None:
        if self._delivery is not None and self._delivery.journal.set_aside is not None:
            path, why = self._delivery.journal.set_aside
            text = f"the journal could not be read ({why}) and was set aside as {path}"
            log.error("%s", text, extra={"event": "journal_set_aside"})
            for venue in self.venues:
                venue.recorder.event(self._clock.now_ns(), None, "journal_set_aside", text)

    def _announce(self) -> None:
        settings = self._settings
        count = sum(len(venue.markets) for venue in self.venues)
        where = "nowhere (dry run)" if settings.dry_run else f"{settings.store.backend}, {settings.store.place[1]}"
        what = f"{', '.join(settings.streams)} of {count} markets from {', '.join(settings.exchanges)}"
        self._say(f"collecting {what}; storing: {where}")

    def _note_left_over(self) -> None:
        """Names markets that have settings of their own and are not there: slips, or what a wildcard may yet bring."""
        settings = self._settings
        collected = {symbol for venue in self.venues for symbol in venue.markets}
        for symbol in named_in(settings.derived.ticks):
            ours = any(settings.feed.shard.takes(exchange, symbol) for exchange in settings.exchanges)
            if ours and symbol not in collected:
                log.warning(
                    "--tick-sizes names %s, which is not collected", symbol, extra={"event": "setting_left_over"}
                )

    # -- run

    async def _collect(self) -> None:
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
            await self._committer.commit(over_budget=self._housekeeping.over_budget)
            self._beat()
            await self._observers.second(
                journal=self._journal, deliverer=self._deliverer, refusing=self._committer.behind
            )
            for task in self._tasks:
                if task.done():
                    self._ended(task)

    def _tick(self) -> None:
        now_ns = self._clock.now_ns()
        for venue in self.venues:
            venue.recorder.may_heal = not self._committer.refusing
            venue.recorder.tick(now_ns)
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

    @property
    def _journal(self) -> Journal | None:
        return None if self._delivery is None else self._delivery.journal

    @property
    def _deliverer(self) -> Deliverer | None:
        return None if self._delivery is None else self._delivery.deliverer

    def _beat(self) -> None:
        # A full disk is told of by the journal; where the file cannot be touched, its age tells.
        with contextlib.suppress(OSError):
            health.beat(self._heartbeat_folder)

    def _open_captures(self) -> set[Path]:
        """The files that captures are written to now."""
        paths = {live.capture_path for venue in self.venues for live in venue.markets.values()}
        return {path for path in paths if path is not None}

    def _ended(self, task: asyncio.Future[None]) -> None:
        """A task came to an end by itself, which only a failure of the machine or a bug can do."""
        error = task.exception()
        if error is not None:
            raise MachineFailed(f"stopped: {error}") from error

    def _delivery_event(self, now_ns: int, market: Market | None, kind: str, detail: str) -> None:
        """Called on the deliverer's thread."""
        log.warning("%s: %s", kind.replace("_", " "), detail, extra={"event": kind})
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is about to end
            self._loop.call_soon_threadsafe(self._note, now_ns, market, kind, detail)

    def _note(self, now_ns: int, market: Market | None, kind: str, detail: str) -> None:
        for venue in self.venues:
            if market is None or market.exchange == venue.exchange:
                venue.recorder.event(max(now_ns, self._clock.now_ns()), market and market.symbol, kind, detail)

    # -- end

    def _signalled(self) -> None:
        now_ns = self._clock.now_ns()
        if self._stop.is_set():
            if now_ns - self._stopped_ns < _ONE_SIGNAL_NS:
                return  # a wrapper passed on what the whole group got
            log.warning("stopped by a second signal; what is in the journal stays there")
            logging.shutdown()
            os._exit(1)
        self._stopped_ns = now_ns
        self._stop.set()

    async def _finish(self) -> None:
        """Stops taking, keeps what was taken, delivers what can be delivered, gives everything back."""
        try:
            await self._stop_taking()
            if self._feeds and not self._failed:
                self._observers.last_rows()
                await self._committer.finish()
            if self._delivery is not None:
                said = await self._delivery.drain(failed=self._failed)
                if said is not None:
                    self._say(said)
        finally:
            self._hot_stop.set()
            if self._heating is not None:
                await asyncio.wait([self._heating])
            for venue in self.venues:
                for live in venue.markets.values():
                    live.close()
            await self._observers.stop()
            if self._delivery is not None:
                self._delivery.close()

    async def _stop_taking(self) -> None:
        now_ns = self._clock.now_ns()
        if not self._failed:
            self._coverage.state(now_ns)
        for venue in self.venues:
            venue.recorder.stop(now_ns, "stopped")
        for task in (*self._feeds, *self._chores):
            task.cancel()
        if self._chores:
            await asyncio.wait(self._chores)
        if self._feeds:
            await asyncio.wait(self._feeds, timeout=_FEED_STOP_S)
        for ended in await asyncio.gather(*(venue.feed.close() for venue in self.venues), return_exceptions=True):
            if isinstance(ended, Exception):
                log.warning("a feed could not be closed: %s", ended)
