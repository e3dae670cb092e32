"""Stores with a row altered, as whoever wants to deceive would: under a right checksum."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage_backends.interface import Market
from storage_backends.schema import bare, known
from tests.stores import open_local

Row = dict[str, Any]


def rewrite(folder: Path, file: Path, how: Callable[[Row], Row | None]) -> None:
    """Passes each row of a file through `how`; None drops it."""
    name = file.relative_to(folder).parts[0]
    before = pq.ParquetFile(file).read().to_pylist()
    rows = [new for row in before if (new := how(copy.deepcopy(row))) is not None]
    if rows == before:
        return
    file.unlink()
    if rows:
        market = Market(*(part.partition("=")[2] for part in file.relative_to(folder).parts[1:3]))
        changed = pa.Table.from_pylist(rows, schema=bare(known(name).schema))
        open_local(folder).write(name, market, changed, writer="test", content_hash=uuid.uuid4().hex * 2)


def alter(
    folder: Path,
    table: str,
    where: Callable[[Row], bool],
    how: Callable[[Row], None] | None,
    *,
    all_of_them: bool = False,
) -> Row:
    """Alters the first row that `where` finds, or all of them, or takes it away; gives the row as it was."""
    found: list[Row] = []

    def altered(row: Row) -> Row | None:
        if (found and not all_of_them) or not where(row):
            return row
        found.append(copy.deepcopy(row))
        if how is None:
            return None
        how(row)
        return row

    for file in sorted((folder / table).rglob("*.parquet")):
        rewrite(folder, file, altered)
    assert found, f"no such row in {table}"
    return found[0]
