"""What live tests ask of a Bigtable instance."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from collector.audit.gaps import id_cover, read_gaps
from storage_backends.bigtable.backend import BigtableBackend
from storage_backends.bigtable.client import Client, Row
from storage_backends.bigtable.options import BigtableOptions
from storage_backends.interface import Market
from storage_backends.reading import read
from tests.live.harness import Simulator
from tests.live.invariant import STREAMS


def all_cells(options: BigtableOptions, table_id: str) -> dict[bytes, Row]:
    """Every row with every version of every cell."""
    from google.cloud.bigtable_v2.types import ReadRowsRequest

    client = Client(options)
    request = ReadRowsRequest(table_name=f"{options.instance}/tables/{table_id}")
    found = {row.key: row for row in client._stream(table_id, request)}
    client.close()
    return found


def cbt(options: BigtableOptions, *arguments: str) -> str:
    """What Google's `cbt` says."""
    program = shutil.which("cbt")
    assert program is not None
    return subprocess.run(
        [program, "-project", options.project_id, "-instance", options.instance_id, *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={"BIGTABLE_EMULATOR_HOST": str(options.emulator_host), "HOME": str(Path.home()), "PATH": ""},
    ).stdout


def check_promise(simulator: Simulator, options: BigtableOptions, market: Market) -> None:
    """Ids sent = ids stored ∪ ids in gaps, one cell each."""
    backend = BigtableBackend(options)
    gaps = read_gaps(backend, market)
    for channel, (table, column, stream) in STREAMS.items():
        ledger = simulator.get("/sent", market=market.exchange, symbol=market.symbol, stream=channel)
        sent = set(ledger["sent"])
        stored = read(backend, table, market, columns=[column])[column].to_pylist()
        assert stored, f"nothing in {table}"
        assert backend.stats(table, market).rows == len(stored), f"{table}: stored twice"
        assert set(stored) <= sent
        cover = id_cover(gaps, stream)
        kept = set(stored)
        lost = [one for one in sent if min(kept) < one <= max(kept) and one not in kept and not cover.holds(one, one)]
        assert not lost, f"{table}: {len(lost)} ids neither stored nor in a gap: {sorted(lost)[:5]}"
    backend.close()
