"""Keeps the hot files of a live run: beside the event loop, and never for more than a small share of a core."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from pathlib import Path

from collector.journal.plans import Entry
from storage_backends.interface import Market

log = logging.getLogger(__name__)

_IDLE_S = 0.2


class HotWriter:
    """Takes what was committed, and writes the file that has waited longest.

    With few markets each file is as new as the last commit. With many a round takes longer, since no more than `share`
    of one core's time goes into it; rows that come meanwhile wait, no more of them than a file holds, in the form that
    the journal has them in: as objects, a row of forty columns takes five times the memory.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        share: float = 0.03,
        clock_s: Callable[[], float] = time.thread_time,
        window_rows: int = 1024,
    ) -> None:
        self._data_dir = data_dir
        self._share = share
        self._clock_s = clock_s
        self._window_rows = window_rows
        self._waiting: OrderedDict[tuple[str, Market], deque[Entry]] = OrderedDict()
        self._lock = threading.Lock()
        self._failing = False

    def offer(self, entries: Iterable[Entry]) -> None:
        """Takes rows that are safe already. From any thread; returns at once."""
        with self._lock:
            for entry in entries:
                waiting = self._waiting.setdefault((entry.table, entry.market), deque())
                waiting.append(entry)
                rows = sum(each.rows for each in waiting)
                while rows - waiting[0].rows >= self._window_rows:
                    rows -= waiting.popleft().rows

    def run(self, stop: threading.Event) -> None:
        """Writes until `stop` is set, and then what is left; for a thread of its own."""
        while not stop.is_set():
            spent_s = self.step()
            stop.wait(spent_s * (1 - self._share) / self._share if spent_s else _IDLE_S)
        while self.step():
            pass

    def step(self) -> float:
        """Writes one file; gives the seconds of CPU time that it took, 0 when there was nothing to write."""
        with self._lock:
            if not self._waiting:
                return 0.0
            (table, market), entries = self._waiting.popitem(last=False)
        began_s = self._clock_s()
        self._write(table, market, entries)
        return max(self._clock_s() - began_s, 1e-6)

    def _write(self, table: str, market: Market, entries: Iterable[Entry]) -> None:
        from collector.journal.arrow import to_arrow
        from collector.journal.codec import decode
        from storage_backends.hot import HotStore

        try:
            rows = to_arrow(decode(table, entry.body) for entry in entries)
            HotStore(self._data_dir).extend(table, market, rows, self._window_rows)
        except Exception as error:  # noqa: BLE001  a copy for readers must not end the collection
            if not self._failing:
                log.warning("hot rows are not kept: %s", error)
            self._failing = True
        else:
            self._failing = False
