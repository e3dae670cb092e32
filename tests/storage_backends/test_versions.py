"""Files of every schema version that was ever written are read, and files of a newer one are refused.

`versions/v1/trades.parquet`, `.jsonl.zst` and `.json` hold the same six rows of table `trades` as version 1 wrote them,
the last one as plain JSON (binary columns in base64). When a table's version goes up, files of the new one are added
(`python -m tests.storage_backends.test_versions`), and those that are there stay as they are.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from storage_backends import formats, layout
from storage_backends.contract.rows import arrow, rows
from storage_backends.errors import PermanentBackendError
from storage_backends.files import FileBackend
from storage_backends.interface import Market
from storage_backends.layout import TimeRange
from storage_backends.local import LocalBackend, LocalFiles
from storage_backends.reading import read
from storage_backends.schema import TABLES, Table

VERSIONS = Path(__file__).with_name("versions")
HASH = "0123abcd" * 8
STORED = sorted(path for path in VERSIONS.glob("v*/*") if path.suffix != ".json")


def plain(made: dict[str, Any]) -> dict[str, Any]:
    return {
        name: base64.b64encode(value).decode() if isinstance(value, bytes) else value for name, value in made.items()
    }


@pytest.mark.parametrize("path", STORED, ids=[f"{path.parent.name}/{path.name}" for path in STORED])
def test_every_version_is_read(path: Path, tmp_path: Path) -> None:
    name, _, suffix = path.name.partition(".")
    table = TABLES[name]
    wanted = json.loads(path.with_name(f"{name}.json").read_text())
    market = Market("binance", "BTCUSDT")
    span = [row[table.span] for row in wanted]
    part = layout.PartName(min(span), max(span), "old", HASH[:8], f".{suffix}")
    stored = tmp_path / layout.market_folder(name, market) / "date=2024-07-18" / str(part)
    stored.parent.mkdir(parents=True)
    stored.write_bytes(path.read_bytes())
    backend = LocalBackend(tmp_path)
    found = read(backend, name, market)
    assert found.column_names == table.schema.names
    later = set(table.schema.names) - set(wanted[0])
    assert [plain(row) for row in found.to_pylist()] == [{**row, **dict.fromkeys(later)} for row in wanted]
    assert backend.stats(name, market).rows == len(wanted)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("suffix", layout.SUFFIXES)
def test_every_version_of_every_table_is_here(table: Table, suffix: str) -> None:
    for version in range(1, table.version + 1):
        assert (VERSIONS / f"v{version}" / f"{table.name}{suffix}") in STORED, f"keep a file of version {version}"


@pytest.mark.parametrize("suffix", layout.SUFFIXES)
def test_columns_that_came_later_are_null_and_a_newer_version_is_refused(suffix: str, tmp_path: Path) -> None:
    now = TABLES["trades"]
    newer = dataclasses.replace(now, schema=now.schema.append(pa.field("note", pa.string())), version=now.version + 1)
    old, new = tmp_path / f"old{suffix}", tmp_path / f"new{suffix}"
    made = arrow("trades", rows("trades", range(6)))
    old.write_bytes(formats.encode(suffix, now, made, writer="w", content_hash=HASH))
    noted = made.append_column(newer.schema.field("note"), pa.array(["x"] * 6))
    new.write_bytes(formats.encode(suffix, newer, noted, writer="w", content_hash=HASH))
    for path, note in ((old, None), (new, "x")):
        with FileBackend(LocalFiles(tmp_path)).opened(newer, path.name) as file:
            (chunk,) = file.chunks(newer.schema.names, TimeRange(None, None))
        assert chunk.rows.to_pylist() == [{**row, "note": note} for row in rows("trades", range(6))]
    refused = rf"new{suffix}: has schema version {newer.version} of table trades.* newer release"
    with pytest.raises(PermanentBackendError, match=refused):  # noqa: SIM117
        with FileBackend(LocalFiles(tmp_path)).opened(now, new.name):
            pass


def write_missing() -> None:
    """Adds files of the versions of now; those that are there stay."""
    for table in TABLES.values():
        made = rows(table.name, range(6))
        folder = VERSIONS / f"v{table.version}"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / f"{table.name}.json").exists():
            text = json.dumps([plain(row) for row in made], ensure_ascii=False, indent=1)
            (folder / f"{table.name}.json").write_text(text + "\n")
        for suffix in layout.SUFFIXES:
            path = folder / f"{table.name}{suffix}"
            if not path.exists():
                payload = formats.encode(suffix, table, arrow(table.name, made), writer="old", content_hash=HASH)
                path.write_bytes(payload)


if __name__ == "__main__":
    write_missing()
