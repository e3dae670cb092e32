"""Helpers over local stores for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from collector.audit.compare import CORE_TABLES, differences, rows_of
from storage_backends.interface import Backend, Market
from storage_backends.open import open_backend


def open_local(folder: Path) -> Backend:
    """The local backend in `folder`."""
    return open_backend("local", data_dir=folder)


def rows(store: Backend, table: str, market: Market) -> list[dict[str, Any]]:
    """All rows as a scan gives them."""
    return rows_of(store, table, market)


def differing(one: Path, other: Path, market: Market, tables: tuple[str, ...] = CORE_TABLES) -> dict[str, str]:
    """The tables whose scanned rows differ, with the first difference."""
    return differences(open_local(one), open_local(other), market, tables)
