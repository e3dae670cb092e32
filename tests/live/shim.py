"""The collector on a machine with a fault: `python -m tests.live.shim FAULT ARGUMENTS…`; see `FAULTS`."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from collector.cli import main
from collector.lean_pyarrow import with_system_memory

HOUR_NS = 3600 * 10**9


def stalled_sink() -> None:
    """The third commit takes five seconds."""
    from collector.journal.journal import Journal
    from collector.journal.plans import Entry

    commit, calls = Journal.commit, itertools.count(1)

    def slow(self: Journal, *args: Any) -> list[Entry]:
        if next(calls) == 3:
            print("the sink stalls", flush=True)
            time.sleep(5)
            print("the sink goes on", flush=True)
        return commit(self, *args)

    Journal.commit = slow  # type: ignore[method-assign]


def stalled_backend() -> None:
    """Writes to the backend never return."""
    from storage_backends.local import LocalBackend

    def never(*_: Any) -> None:
        print("the backend stalls", flush=True)
        time.sleep(600)

    LocalBackend._write = never  # type: ignore[method-assign]


def blocked_loop() -> None:
    """The event loop stands still for three seconds, three seconds after the first epoch."""
    from collector.pipeline import Pipeline

    tick, calls = Pipeline._tick, itertools.count(1)

    def blocking(self: Pipeline) -> None:
        if next(calls) == 4:
            time.sleep(3)
        tick(self)

    Pipeline._tick = blocking  # type: ignore[method-assign]


def stepped_clock() -> None:
    """Two seconds after the start the wall clock goes an hour ahead, two more seconds and it is an hour behind."""
    begin = time.monotonic()
    wall_ns, wall = time.time_ns, time.time

    def step_ns() -> int:
        since_s = time.monotonic() - begin
        return 0 if since_s < 3 else HOUR_NS if since_s < 6 else -HOUR_NS

    time.time_ns = lambda: wall_ns() + step_ns()  # type: ignore[assignment]
    time.time = lambda: wall() + step_ns() / 1e9  # type: ignore[assignment]


def clock_ahead() -> None:
    """The wall clock is an hour ahead."""
    wall_ns, wall = time.time_ns, time.time
    time.time_ns = lambda: wall_ns() + HOUR_NS  # type: ignore[assignment]
    time.time = lambda: wall() + HOUR_NS / 1e9  # type: ignore[assignment]


def lossy_market() -> None:
    """A bug: every hundredth message of ETHUSDT makes its market raise."""
    from collector.core.market import Market

    message, calls = Market.message, itertools.count(1)

    def raising(self: Market, *args: Any) -> None:
        message(self, *args)
        if self.session.symbol == "ETHUSDT" and next(calls) % 100 == 0:
            raise ZeroDivisionError("a bug of ours")

    Market.message = raising  # type: ignore[method-assign]


def soak() -> None:
    """Prints the number of tasks each second; the backend is away while the file that BACKEND_AWAY names exists."""
    from collector.pipeline import Pipeline
    from storage_backends.errors import TransientBackendError
    from storage_backends.local import LocalBackend

    tick, write, away = Pipeline._tick, LocalBackend._write, Path(os.environ["BACKEND_AWAY"])

    def counting(self: Pipeline) -> None:
        print("tasks", len(asyncio.all_tasks()), flush=True)
        tick(self)

    def absent(self: LocalBackend, *args: Any) -> None:
        if away.exists():
            raise TransientBackendError("away")
        write(self, *args)

    Pipeline._tick = counting  # type: ignore[method-assign]
    LocalBackend._write = absent  # type: ignore[method-assign]


def refused_trades() -> None:
    """The backend takes no trades, for good."""
    from storage_backends.errors import PermanentBackendError
    from storage_backends.local import LocalBackend

    write = LocalBackend._write

    def refusing(self: LocalBackend, table: str, *args: Any) -> None:
        if table == "trades":
            raise PermanentBackendError("no trades, please")
        write(self, table, *args)

    LocalBackend._write = refusing  # type: ignore[method-assign]


def impatient() -> None:
    """A backend that is away is bad news after a second, not after a minute."""
    from collector.core import quality

    quality.BACKEND_AWAY_S = 1.0  # type: ignore[misc]


FAULTS: dict[str, Callable[[], None]] = {
    fault.__name__: fault
    for fault in (
        stalled_sink,
        stalled_backend,
        blocked_loop,
        stepped_clock,
        clock_ahead,
        lossy_market,
        refused_trades,
        soak,
        impatient,
    )
}

if __name__ == "__main__":
    with_system_memory()  # the faults import pyarrow before the command can say so
    FAULTS[sys.argv[1]]()
    main(sys.argv[2:])
