from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard

from storage_backends import formats, jsonl
from storage_backends.contract.rows import arrow, rows
from storage_backends.errors import PermanentBackendError
from storage_backends.layout import JSONL, TimeRange
from storage_backends.schema import TABLES, Table

TRADES = TABLES["trades"]
ALWAYS = TimeRange(None, None)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "FRAME_ROWS", 5)


def encoded(table: Table = TRADES, count: int = 20) -> bytes:
    made = arrow(table.name, rows(table.name, range(count)))
    return formats.encode(JSONL, table, made, writer="w", content_hash="ab" * 32)


def opened(data: bytes, table: Table = TRADES) -> jsonl.JsonlFile:
    return jsonl.JsonlFile(pa.BufferReader(data), "part.jsonl.zst", table)


def all_rows(file: jsonl.JsonlFile, within: TimeRange = ALWAYS) -> list[dict[str, Any]]:
    return [made for chunk in file.chunks(TRADES.schema.names, within) for made in chunk.rows.to_pylist()]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_the_same_rows_give_the_same_bytes(table: Table) -> None:
    assert encoded(table) == encoded(table)


def test_frames_out_of_range_are_not_read() -> None:
    made = rows("trades", range(20))
    data = bytearray(encoded())
    file = opened(bytes(data))
    first = file._frames[0]
    data[first.at + 10 : first.at + first.size] = bytes(first.size - 10)  # whoever reads it will notice
    spoilt = opened(bytes(data))
    assert all_rows(spoilt, TimeRange(made[7]["timestamp"], made[8]["timestamp"])) == [made[7]]
    with pytest.raises(PermanentBackendError, match=r"part\.jsonl\.zst: damaged"):
        all_rows(spoilt)
    stats = spoilt.stats()
    assert (stats.rows, stats.first_time, stats.last_time) == (20, made[0]["timestamp"], made[19]["timestamp"])


@pytest.mark.parametrize(
    "spoil",
    [lambda data: b"", lambda data: b"{}\n" * 9, lambda data: data[:-1], lambda data: data[: len(data) // 2]],
    ids=["empty", "text", "last byte cut", "half"],
)
def test_a_truncated_file_is_named(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(PermanentBackendError, match=r"part\.jsonl\.zst: damaged, or not a file of the collector"):
        opened(spoil(encoded()))


def test_no_byte_can_change_unnoticed() -> None:
    made, data = rows("trades", range(8)), encoded(count=8)
    harmless, problems = 0, []
    for at in range(len(data)):
        spoilt = bytearray(data)
        spoilt[at] ^= 0x01
        try:
            assert all_rows(opened(bytes(spoilt))) == made
            harmless += 1
        except PermanentBackendError as error:
            problems.append(str(error))
    assert all(problem.startswith("part.jsonl.zst: ") for problem in problems)
    assert harmless < 10  # bits of the frame headers that mean nothing


def test_a_file_of_another_table_is_refused() -> None:
    with pytest.raises(PermanentBackendError, match="not a file of table depth"):
        opened(encoded(), TABLES["depth"])


def test_lines_that_are_not_of_the_table_are_damage() -> None:
    lines = b'{"price": "cheap"}\n' * 5
    data = encoded(count=5)
    file = opened(data)
    frame = file._frames[0]
    bad = zstandard.ZstdCompressor().compress(lines)
    spoilt = bad + bytes(frame.size - len(bad)) + data[frame.size :]
    with pytest.raises(PermanentBackendError, match=r"part\.jsonl\.zst: damaged"):
        all_rows(opened(spoilt))


def test_other_tools_see_lines_and_no_footer(tmp_path: Path) -> None:
    path = tmp_path / "part.jsonl.zst"
    path.write_bytes(encoded())
    import duckdb

    with duckdb.connect() as connection:
        found = connection.sql(f"select agg_trade_id, price from read_json('{path}')").fetchall()
    assert found == [(made["agg_trade_id"], made["price"]) for made in rows("trades", range(20))]
    try:
        plain = subprocess.run(["zstdcat", path], capture_output=True, check=True).stdout
    except FileNotFoundError:
        pytest.skip("no zstdcat here, so only DuckDB was tried")
    assert [json.loads(line) for line in plain.splitlines()] == rows("trades", range(20))
