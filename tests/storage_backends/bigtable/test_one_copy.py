"""A key is read once, whoever wrote it and however often: lost answers, kills, two collectors."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest

from storage_backends.bigtable.backend import BigtableBackend
from storage_backends.bigtable.options import BigtableOptions
from storage_backends.contract import SECOND_WRITER, got, put
from storage_backends.contract.rows import row, rows, time_ns
from tests.bigtable_proxy import Fault, Proxy
from tests.journal.rows import BTC
from tests.storage_backends.bigtable.delivery import Delivery, cells, first

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("code", [grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE])
def test_a_timeout_after_the_write_leaves_one_copy(
    proxy: Proxy, delivery: Delivery, options: BigtableOptions, direct: BigtableBackend, code: grpc.StatusCode
) -> None:
    proxy.trouble = first(3, Fault(code, after=True))
    for _ in range(30):
        delivery.second(BTC)
    for _ in range(60):
        delivery.second()
    assert delivery.stored(direct) == list(range(30))
    assert delivery.deliverer.counts.failures == 3
    assert direct.stats("book_ticker", BTC).rows == 30
    assert {len(found) for key, found in cells(options).items() if b"!" not in key} == {1}


_WRITER = """
import sys
from storage_backends.bigtable.backend import BigtableBackend
from storage_backends.bigtable.options import BigtableOptions
from storage_backends.contract.rows import arrow, rows
from storage_backends.interface import Market
backend = BigtableBackend(BigtableOptions(*sys.argv[1:4]))
for first in range(0, 1500, 100):
    made = arrow("diffs", rows("diffs", range(first, first + 100)))
    backend.write("diffs", Market("binanceusdm", "BTCUSDT"), made, writer="killed", content_hash=f"{first:08x}")
    print(first, flush=True)
"""


def test_killed_at_any_moment_and_repeated_everything_is_there_once(
    options: BigtableOptions, direct: BigtableBackend
) -> None:
    assert options.emulator_host is not None
    command = [sys.executable, "-c", _WRITER, options.project_id, options.instance_id, options.emulator_host]
    for after in (0, 600):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= after:
                break
        process.kill()
        process.wait()
        process.stdout.close()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    assert got(direct, "diffs") == rows("diffs", range(1500))
    assert {len(found) for found in cells(options).values()} == {1}


def test_two_collectors_at_once_store_each_key_once_and_it_does_not_matter_who_is_first(
    options: BigtableOptions, direct: BigtableBackend
) -> None:
    mine = rows("trades", range(400))
    theirs = [row("trades", at, recv_ns=time_ns(at) - 5_000_000 * (-1) ** at) for at in range(400)]

    def collect(made: list[dict[str, Any]], writer: str) -> None:
        backend = BigtableBackend(options)
        for start in range(0, 400, 20):
            put(backend, "trades", made[start : start + 20], writer=writer)
        backend.close()

    threads = [threading.Thread(target=collect, args=pair) for pair in ((mine, "one"), (theirs, SECOND_WRITER))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    earliest = [min(pair, key=lambda made: made["recv_ns"]) for pair in zip(mine, theirs, strict=True)]
    assert got(direct, "trades") == earliest
    assert {len(found) for key, found in cells(options).items() if b"!" not in key} == {2}
