"""Commits, plans, writes and acknowledges as fast as it can, until it is killed; then starts again where it was.

    python -m tests.journal.crasher FOLDER SEED

An odd SEED has it end by its own hand right after a write, before the journal hears of it; nobody else would often hit
that moment. Prints a line for each market of a commit once that is durable: its symbol and the count of its numbers.
Two threads, as in the collector: one commits, the other delivers to the local backend.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from collector.clock import SystemClock
from collector.journal.deliverer import Deliverer
from collector.journal.journal import Journal
from collector.journal.limits import DeliveryLimits
from storage_backends.local import LocalBackend
from tests.journal.rows import BTC, ETH, numbered

if TYPE_CHECKING:
    import pyarrow as pa

    from storage_backends.interface import Market


class FatalBackend(LocalBackend):
    """Lets the process live through a few writes."""

    writes_left = 5

    def _write(self, table: str, market: Market, rows: pa.Table, writer: str, content_hash: str) -> None:
        super()._write(table, market, rows, writer, content_hash)
        self.writes_left -= 1
        if self.writes_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def main(folder: Path, seed: int) -> None:
    clock = SystemClock()
    journal = Journal.open(folder / "journal.sqlite", clock=clock)
    limits = DeliveryLimits(flush_interval_s=0.01, max_span_s=0.05)
    backend = FatalBackend(folder) if seed % 2 else LocalBackend(folder)
    deliverer = Deliverer(journal, backend, clock=clock, limits=limits)
    threading.Thread(target=deliverer.run, args=(threading.Event(),), daemon=True).start()
    say("ready")
    choose = random.Random(seed)
    following = {market: int(body) for market, body in journal.states().items()}
    while True:
        markets = choose.choice([[BTC], [ETH], [BTC, ETH]])
        batches = [(market, numbered(following.get(market, 0), choose.randint(1, 300))) for market in markets]
        for market, batch in batches:
            following[market] = following.get(market, 0) + batch.rows
        journal.commit(batches, {market: b"%d" % following[market] for market in markets})
        say(*(f"{market.symbol} {following[market]}" for market in markets))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
