"""Everything that looks on while a run collects, and may not hold it up: quality, callbacks, recording, webhook."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from collector.consumers import Consumer, Hub
from collector.control import Control
from collector.errors import ConfigurationError
from collector.state_writer import StateWriter
from collector.watch import Change, Watch
from storage_backends.interface import Market

if TYPE_CHECKING:
    from collector.clock import Clock
    from collector.core.batch import Batch
    from collector.journal.deliverer import Deliverer
    from collector.journal.journal import Journal
    from collector.live_market import LiveMarket
    from collector.recording import EventRecorder
    from collector.settings import RunSettings
    from collector.venue import Venue
    from collector.webhook import Webhook

log = logging.getLogger(__name__)

Given = ParamSpec("Given")


def _harmless(look: Callable[Concatenate[Any, Given], None]) -> Callable[Concatenate[Any, Given], None]:
    """A fault of ours in what only looks on is said once, and ends nothing."""

    @wraps(look)
    def guarded(self: Any, /, *args: Given.args, **kwargs: Given.kwargs) -> None:
        try:
            look(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  nothing that is collected depends on it
            self.failed(look.__name__, error)

    return guarded


class Observers:
    """One for a run. The pipeline tells it what happened; every call returns at once and never raises.

    Attributes:
        watch: quality and lags of every market.
    """

    def __init__(
        self, settings: RunSettings, clock: Clock, venues: Sequence[Venue], consumers: Iterable[Consumer] = ()
    ) -> None:
        data_dir = None if settings.dry_run else settings.store.data_dir
        self.watch = Watch(venues, clock, data_dir, self._quality_changed)
        self._clock = clock
        self._venues = venues
        self._drained_ns = clock.now_ns()
        self._store = settings.store
        self._http = settings.http
        self._passing: tempfile.TemporaryDirectory[str] | None = None
        if data_dir is None and settings.http is not None:
            self._passing = tempfile.TemporaryDirectory(prefix="collector-")
        self._state_dir = data_dir if self._passing is None else Path(self._passing.name)
        self._state: StateWriter | None = None
        if self._state_dir is not None:
            self._state = StateWriter(self._state_dir, settings.store.backend, clock.now_ns(), venues, self.watch)
        self._control: Control | None = None
        if self._state_dir is not None:
            self._control = Control(self._state_dir, venues, clock.now_ns)
        self._told_epoch = 0
        self._failed: set[str] = set()
        self._recording: EventRecorder | None = None
        self._webhook: Webhook | None = None
        self._tasks: list[asyncio.Task[None]] = []
        every = list(consumers)
        if settings.record_dir is not None:
            from collector.recording import EventRecorder

            try:
                settings.record_dir.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                why = f"cannot be made: {error.strerror}"
                raise ConfigurationError("--record-dir", settings.record_dir, why) from error
            self._recording = EventRecorder(settings.record_dir, clock.now_ns(), settings.record_buffer_size)
            every.append(Consumer(self._recording, name="recording"))
        if settings.webhook is not None:
            from collector.webhook import Webhook

            self._webhook = Webhook(settings.webhook)
        self._hub = Hub(every)

    def begin(self) -> None:
        """The markets are there. From the event loop."""
        self._hub.start()
        for venue in self._venues:
            for symbol, live in venue.markets.items():
                self._attach(venue.exchange, symbol, live)
            venue.on_joined = partial(self._attach, venue.exchange)
        if self._webhook is not None:
            self._tasks.append(asyncio.create_task(self._webhook.run(), name="webhook"))
        if self._control is not None:
            self._tasks.append(asyncio.create_task(self._control.start(), name="control"))
        if self._http is not None and self._state_dir is not None:
            from collector.serve.child import keep_serving

            serving = keep_serving(self._http, self._store, self._state_dir)
            self._tasks.append(asyncio.create_task(serving, name="http"))

    def _attach(self, exchange: str, symbol: str, live: LiveMarket) -> None:
        self.watch.attach(Market(exchange, symbol), live)
        if self._hub.wants(live.market.session.channels):
            live.on_message = partial(self._hub.message, market=Market(exchange, symbol))

    @_harmless
    def epochs(self) -> None:
        """A second is over: tells of each market's newest epoch, once."""
        last = self._told_epoch
        for venue in self._venues:
            for symbol, live in venue.markets.items():
                row = live.market.latest
                if row is not None and row.epoch > last:
                    self._told_epoch = max(self._told_epoch, row.epoch)
                    self._hub.publish("epoch", Market(venue.exchange, symbol), row.epoch * 1_000_000_000, row)

    @_harmless
    def drained(self, venue: Venue, symbol: str, batches: Sequence[Batch]) -> None:
        """Rows were taken from a market, to be committed."""
        self.watch.received(venue, symbol, batches)

    @_harmless
    def committed(self, drained_ns: int) -> None:
        """Everything that was received up to `drained_ns` is on disk."""
        self.watch.committed(self._drained_ns)
        self._drained_ns = drained_ns

    async def second(self, *, journal: Journal | None, deliverer: Deliverer | None, refusing: bool) -> None:
        """A second is over."""
        now_ns = self._clock.now_ns()
        try:
            self.watch.second(now_ns, journal=journal, deliverer=deliverer, refusing=refusing)
            if self._state is not None:
                state = self._state.state(now_ns, journal=journal, deliverer=deliverer, refusing=refusing)
                await asyncio.to_thread(self._state.write, state)
        except Exception as error:  # noqa: BLE001  nothing that is collected depends on it
            self.failed("second", error)

    @_harmless
    def last_rows(self) -> None:
        """Nothing more will come: takes no commands, hands on the rows of the last seconds, to be committed."""
        if self._control is not None:
            self._control.stop()
        self.watch.finish()

    def failed(self, what: str, error: Exception) -> None:
        """Says once of each `what` that it failed."""
        if what not in self._failed:
            self._failed.add(what)
            log.error("what looks on failed (%s); collection goes on", what, exc_info=error)

    async def stop(self) -> None:
        """Everything is stored: consumers may finish. From the event loop."""
        await asyncio.to_thread(self._hub.stop)
        self._close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._passing is not None:
            self._passing.cleanup()

    @_harmless
    def _close(self) -> None:
        if self._recording is not None:
            self._recording.close()
        if self._state is not None:
            self._state.write(self._state.state(self._clock.now_ns(), stopping=True))

    def _quality_changed(self, changes: list[Change]) -> None:
        for change in changes:
            self._hub.publish("quality", change.market, change.epoch * 1_000_000_000, change.now)
        if self._webhook is not None:
            self._webhook.tell(changes)
