"""Journal, deliverer and backend of a live run: opened before anything is collected, emptied and closed at its end."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from collector.core.batch import Batch
from collector.core.epochs import SECOND_NS
from collector.core.inputs import Resume
from collector.errors import ConfigurationError, MachineFailed
from storage_backends.interface import Backend, Market

if TYPE_CHECKING:
    from collector.clock import Clock
    from collector.journal.deliverer import Deliverer
    from collector.journal.journal import Journal
    from collector.journal.pace import DeliveryCounts
    from collector.journal.plans import Damage
    from collector.settings import RunSettings

log = logging.getLogger(__name__)

_DRAIN_S = 20.0

OnEvent = Callable[[int, Market | None, str, str], None]
OnRefused = Callable[[Market, list[Batch]], None]
OnDamaged = Callable[[Market, "Damage"], None]


class Delivery:
    """What takes rows from the journal to the backend, on a thread of its own.

    Attributes:
        journal, deliverer, backend: the three of them.
    """

    def __init__(self, journal: Journal, deliverer: Deliverer, backend: Backend, place: str, clock: Clock) -> None:
        self.journal = journal
        self.deliverer = deliverer
        self.backend = backend
        self._place = place
        self._clock = clock
        self._stop = threading.Event()
        self._running: asyncio.Future[None] | None = None

    @classmethod
    def open(
        cls, settings: RunSettings, clock: Clock, on_event: OnEvent, on_refused: OnRefused, on_damaged: OnDamaged
    ) -> Delivery:
        """Opens backend and journal; the callbacks are called on the deliverer's thread.

        Raises:
            ConfigurationError: one of them cannot be used. Nothing that was stored before is touched.
        """
        from collector.journal.deliverer import Deliverer
        from collector.journal.limits import DeliveryLimits, pauses_up_to

        backend = _open_backend(settings)
        journal = _open_journal(settings, clock)
        deliverer = Deliverer(
            journal,
            backend,
            clock=clock,
            limits=DeliveryLimits(flush_interval_s=settings.flush_interval_s, max_rows=settings.max_batch_rows),
            on_event=on_event,
            on_refused=on_refused,
            on_damaged=on_damaged,
            wait=pauses_up_to(min(60.0, max(15.0, settings.flush_interval_s))),
        )
        return cls(journal, deliverer, backend, settings.store.place[1], clock)

    def states(self) -> dict[Market, Resume]:
        """What each market remembers, by the journal. One that is damaged is left out: then the store knows best."""
        known = {}
        for market, body in self.journal.states().items():
            try:
                known[market] = msgspec.json.decode(body, type=Resume)
            except msgspec.MsgspecError as error:
                log.error("the journal remembers nothing readable of %s %s: %s", market.exchange, market.symbol, error)
        return known

    def start(self) -> asyncio.Future[None]:
        """Begins to deliver; gives what ends only with a failure, or in `drain`."""
        self._running = asyncio.get_running_loop().run_in_executor(None, self.deliverer.run, self._stop)
        return self._running

    async def drain(self, *, failed: bool) -> str | None:
        """Takes the journal's rest to the backend, for as long as a stop may take; gives what to say of it.

        After a failure it only waits until nothing is under way.

        Raises:
            MachineFailed: the disk failed.
        """
        if self._running is None:
            return None
        self._stop.set()
        await asyncio.wait([self._running])
        if failed or self._running.exception() is not None:
            return None
        from collector.journal.errors import JournalError
        from storage_backends.errors import BackendError

        began_ns = self._clock.now_ns()
        deadline_ns = began_ns + round(_DRAIN_S * SECOND_NS)
        try:
            done = await asyncio.to_thread(self.deliverer.drain, deadline_ns)
        except (BackendError, JournalError) as error:
            raise MachineFailed(str(error)) from error
        if done:
            return f"stopped; everything is stored in {self._place}"
        rows = sum(group.rows for group in self.journal.groups())
        rows += sum(plan.rows for plan in self.journal.open_plans())
        why = _why_not_all(self.deliverer.counts, self._place, began_ns)
        return f"stopped; {rows:,} rows stay in {self.journal.path} and are delivered at the next start: {why}"

    def close(self) -> None:
        """Gives files and connections back."""
        self.journal.close()
        self.backend.close()


def _why_not_all(counts: DeliveryCounts, place: str, began_ns: int) -> str:
    """Why a drain to `place` that began at `began_ns` left rows behind."""
    if counts.away_since_ns is not None:
        return f"{place} is away (last error: {counts.last_error})"
    if counts.last_error_ns is not None and counts.last_error_ns >= began_ns:
        return f"{place} did not take all of them (last error: {counts.last_error})"
    return f"{place} took rows until the end, but not all of them within {_DRAIN_S:g} s"


def _open_backend(settings: RunSettings) -> Backend:
    from collector.journal.format import JOURNAL_FILE
    from storage_backends.errors import BackendError, StorageFull, TransientBackendError
    from storage_backends.open import open_store

    store = settings.store
    try:
        backend = open_store(store)
        backend.check()
    except ValueError as error:
        raise ConfigurationError("--backend", store.backend, str(error)) from error
    except BackendError as error:
        # Once a collector has worked here, it collects into its journal until the backend is back.
        away = isinstance(error, TransientBackendError) and not isinstance(error, StorageFull)
        if not away or not (settings.data_dir / JOURNAL_FILE).exists():
            raise ConfigurationError(*store.place, f"cannot be written to: {error}") from error
        log.warning("the backend is away: %s", error)
    return backend


def _open_journal(settings: RunSettings, clock: Clock) -> Journal:
    from collector.journal.errors import DiskFull, JournalError, JournalFailed
    from collector.journal.format import JOURNAL_FILE
    from collector.journal.journal import Journal

    try:
        return Journal.open(settings.data_dir / JOURNAL_FILE, max_bytes=settings.journal_max_bytes, clock=clock)
    except (JournalFailed, DiskFull) as error:
        raise ConfigurationError("--data-dir", settings.data_dir, f"cannot hold the journal: {error}") from error
    except JournalError as error:
        raise ConfigurationError("--data-dir", settings.data_dir, str(error)) from error
