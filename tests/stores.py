"""Helpers over stores for tests: rows in key order, and comparisons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from storage_backends.interface import Backend, Market
from storage_backends.open import open_backend

CORE_TABLES = ("depth", "diffs", "snapshots", "trades", "raw_trades", "book_ticker", "gaps", "events")


def open_local(folder: Path) -> Backend:
    """The local backend in `folder`."""
    return open_backend("local", data_dir=folder)


def rows(store: Backend, table: str, market: Market) -> list[dict[str, Any]]:
    """All rows as a scan gives them."""
    return [row for batch in store.scan(table, market) for row in batch.to_pylist()]


def differing(one: Path, other: Path, market: Market, tables: tuple[str, ...] = CORE_TABLES) -> dict[str, str]:
    """The tables whose scanned rows differ, with the first difference."""
    first, second = open_local(one), open_local(other)
    found: dict[str, str] = {}
    for table in tables:
        mine, theirs = rows(first, table, market), rows(second, table, market)
        if repr(mine) == repr(theirs):  # repr: NaN equals itself
            continue
        at = next((at for at, (a, b) in enumerate(zip(mine, theirs, strict=False)) if repr(a) != repr(b)), None)
        detail = f"{len(mine)} and {len(theirs)} rows"
        if at is not None:
            detail += f"; row {at}: {mine[at]} is not {theirs[at]}"
        found[table] = detail
    return found
