"""Where the parts of one market put their rows until the pipeline drains them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeAlias

from collector.core.batch import Batch

TEXT_LIMIT = 262_144
"""Bytes of a quarantined frame that are kept; its full length stands in the event's detail."""

_TIMES = 4096  # far more than can wait between two drains

Tell: TypeAlias = Callable[[int, str, str], None]
"""Makes an event of a time, a kind and a detail."""

EVENT_COLUMNS = ("time_ns", "sequence", "kind", "stream", "connection", "detail", "text")


class Records:
    """Rows by table, in the order in which they came to be, and counters for whoever watches.

    `watcher` is shown each batch as it comes. `events` of the time `at_ns` are stored already: a market that failed
    begins anew at that very time.
    """

    def __init__(self, at_ns: int = 0, events: int = 0) -> None:
        self.watcher: Callable[[Batch], None] | None = None
        self.counts: Counter[str] = Counter()
        self._batches: list[Batch] = []
        self._events: list[tuple[Any, ...]] = []
        self._at_time: dict[int, int] = {at_ns: events}

    def add(self, batch: Batch) -> None:
        """Takes a batch; empty ones are left out."""
        if batch.rows:
            self._batches.append(batch)
            if self.watcher is not None:
                self.watcher(batch)

    def event(
        self,
        time_ns: int,
        kind: str,
        *,
        stream: str | None = None,
        connection: int | None = None,
        detail: str = "",
        text: bytes | None = None,
    ) -> None:
        """One row of `events`, numbered among those of the same time, so that a replay numbers them alike."""
        self.counts[kind] += 1
        sequence = self._at_time.pop(time_ns, 0)
        self._at_time[time_ns] = sequence + 1
        if len(self._at_time) > _TIMES:
            del self._at_time[next(iter(self._at_time))]
        self._events.append((time_ns, sequence, kind, stream, connection, detail, text))

    def events_at(self, time_ns: int) -> int:
        """How many events bear a time, of the newest ones."""
        return self._at_time.get(time_ns, 0)

    def tell(self, time_ns: int, kind: str, detail: str) -> None:
        """An event of no stream in particular."""
        self.event(time_ns, kind, detail=detail)

    def quarantine(
        self, time_ns: int, stream: str | None, connection: int | None, reason: str, text: str | bytes
    ) -> None:
        """Keeps a frame that no table can hold, as it was received."""
        raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        cut = f"; the first {TEXT_LIMIT} of {len(raw)} bytes" if len(raw) > TEXT_LIMIT else ""
        self.event(
            time_ns, "quarantine", stream=stream, connection=connection, detail=reason + cut, text=raw[:TEXT_LIMIT]
        )

    def drain(self) -> list[Batch]:
        """All rows since the last drain."""
        batches, self._batches = self._batches, []
        if self._events:
            batches.append(rows_batch("events", EVENT_COLUMNS, self._events))
            self._events = []
        return batches


def rows_batch(table: str, names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Batch:
    """A batch from row tuples; there must be at least one."""
    return Batch(table, {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)})
