"""A deliverer in front of a backend that does what a test asks of it. Nothing sleeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collector.core.batch import Batch
from collector.journal.deliverer import Deliverer
from collector.journal.journal import Journal
from collector.journal.limits import DeliveryLimits
from collector.journal.plans import Damage
from storage_backends.interface import Backend, Market
from tests.journal.rows import BTC

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from collector.clock import ManualClock


Write = tuple[Market, tuple[int, ...], str, str]


class FakeBackend(Backend):
    """Keeps what was written; `trouble(market, ids)` raises what a write is to raise."""

    def __init__(self) -> None:
        self.calls: list[Write] = []
        self.stored: list[Write] = []
        self.trouble: Callable[[Market, tuple[int, ...]], None] = lambda market, ids: None
        self.sick: Exception | None = None

    def _write(self, table: str, market: Market, rows: pa.Table, writer: str, content_hash: str) -> None:
        call = (market, tuple(rows["update_id"].to_pylist()), writer, content_hash)
        self.calls.append(call)
        self.trouble(market, call[1])
        if call not in self.stored:
            self.stored.append(call)

    def check(self) -> None:
        if self.sick is not None:
            raise self.sick

    def ids(self, market: Market = BTC) -> list[int]:
        return [id_ for where, ids, *_ in self.stored if where == market for id_ in ids]

    def _scan(self, *_: Any) -> Any:
        raise NotImplementedError

    _stats = _markets = _tables = close = _scan  # type: ignore[assignment]


class Bench:
    """A deliverer on a clock that only `sleep` and the test move; pauses are 2, 4, 8, ... at most 60 s."""

    def __init__(self, journal: Journal, clock: ManualClock, **limits: float) -> None:
        self.journal, self.clock = journal, clock
        self.backend = FakeBackend()
        self.events: list[tuple[Market | None, str]] = []
        self.details: list[str] = []
        self.refused: list[tuple[Market, Batch]] = []
        self.damages: list[Damage] = []
        self.limits = DeliveryLimits(**limits)  # type: ignore[arg-type]
        self.deliverer = self.restart()

    def restart(self) -> Deliverer:
        self.deliverer = Deliverer(
            self.journal,
            self.backend,
            clock=self.clock,
            limits=self.limits,
            on_event=self._event,
            on_refused=lambda market, batches: self.refused.extend((market, batch) for batch in batches),
            on_damaged=lambda market, damage: self.damages.append(damage),
            wait=lambda state: min(60.0, 2.0**state.attempt_number),
            sleep=self.clock.advance,
        )
        return self.deliverer

    def _event(self, now_ns: int, market: Market | None, kind: str, detail: str) -> None:
        self.events.append((market, kind))
        self.details.append(detail)

    def run_for(self, seconds: int) -> None:
        for _ in range(seconds):
            self.deliverer.step()
            self.clock.advance(1)


def always(error: Exception) -> Callable[[Market, tuple[int, ...]], None]:
    def trouble(market: Market, ids: tuple[int, ...]) -> None:
        raise error

    return trouble


def only(market: Market, error: Exception) -> Callable[[Market, tuple[int, ...]], None]:
    def trouble(where: Market, ids: tuple[int, ...]) -> None:
        if where == market:
            raise error

    return trouble
