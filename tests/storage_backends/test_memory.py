"""A scan holds a few row groups at a time, wherever the files lie and however much is in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from storage_backends.contract import MARKET, WRITER
from storage_backends.interface import Backend
from storage_backends.open import open_store
from storage_backends.s3_client import Location
from storage_backends.schema import TABLES
from storage_backends.settings import StoreSettings
from tests.storage_backends.s3_server import client

ROWS, LEVELS, FILES = 20_000, 40, 20
LIMIT_BYTES = 250 << 20
"""What a scan may take beyond the program itself. The rows take more than twice that."""

SCANS = """
import json, sys
from pathlib import Path
from storage_backends.interface import Market
from storage_backends.open import open_store
from storage_backends.settings import StoreSettings
from tests.storage_backends.s3_server import client

def peak():  # not ru_maxrss, which begins with that of whoever started this
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024

given = json.loads(sys.argv[1])
store = open_store(StoreSettings(**{**given, "data_dir": Path(given["data_dir"])}))
market = Market("binanceusdm", "BTCUSDT")
next(store.scan("diffs", market, columns=["last_id"]))
before = peak()
rows = size = 0
for batch in store.scan("diffs", market):
    rows, size = rows + batch.num_rows, size + batch.nbytes
print(rows, size, peak() - before)
"""


def fill(store: Backend) -> None:
    """Files that overlap, as those of two collectors do."""
    schema = TABLES["diffs"].schema
    for number in range(FILES):
        ids = pa.array(np.arange(ROWS, dtype=np.int64) * 2 + number * (ROWS + 1) + 4_900_000_000_000)
        offsets = pa.array(np.arange(ROWS + 1, dtype=np.int32) * LEVELS)

        def levels(offsets: pa.Array = offsets) -> pa.Array:
            values = pa.array(np.full(ROWS * LEVELS, 63_943.9))  # soon written, and as large as others in memory
            return pa.ListArray.from_arrays(offsets, values)

        columns = []
        for field in schema:
            if pa.types.is_list(field.type):
                columns.append(levels().cast(field.type))
            elif pa.types.is_int32(field.type):
                columns.append(pa.array([1] * ROWS, pa.int32()))
            elif field.name.endswith("_id"):
                columns.append(ids)
            else:
                times = np.arange(ROWS, dtype=np.int64) * 100 + 1_721_260_800_000 + number * ROWS * 50
                columns.append(pa.array(times * (1_000_000 if field.name.endswith("_ns") else 1)))
        rows = pa.table(columns, schema=schema)
        store.write("diffs", MARKET, rows, writer=f"{WRITER}{number % 2}", content_hash=f"{number:08x}" * 8)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    fill(open_store(StoreSettings(data_dir=folder)))
    return folder


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say how much memory was used")
@pytest.mark.parametrize("backend", ["local", "s3"])
def test_a_scan_of_more_than_the_limit(backend: str, filled: Path, request: pytest.FixtureRequest) -> None:
    settings = StoreSettings(data_dir=filled)
    if backend == "s3":
        location: Location = request.getfixturevalue("location")
        settings = StoreSettings(
            backend="s3", s3_bucket=location.bucket, s3_prefix=location.prefix, s3_endpoint_url=location.endpoint_url
        )
        for path in filled.rglob("*.parquet"):
            key = f"{location.prefix}/{path.relative_to(filled)}"
            client(str(location.endpoint_url)).upload_file(str(path), location.bucket, key)
    given = json.dumps(asdict(settings), default=str)
    root = str(Path(__file__).parents[2])
    # A test of `run` in this process leaves its choice of an allocator behind, with which a scan takes 300 MB, not 190.
    env = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    done = subprocess.run(
        [sys.executable, "-c", SCANS, given], capture_output=True, text=True, check=True, cwd=root, env=env
    )
    rows, size, grown = map(int, done.stdout.split())
    print(f"{rows:,} rows, {size:,} bytes, {grown:,} more bytes of memory")
    assert rows == ROWS * FILES
    assert size > 2 * LIMIT_BYTES
    assert grown < LIMIT_BYTES
