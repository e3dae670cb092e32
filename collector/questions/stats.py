"""How much is stored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from storage_backends.interface import Backend, Market


def stats(backend: Backend, markets: Iterable[Market]) -> list[dict[str, Any]]:
    """Rows, files, bytes and time span of each table, from metadata alone."""
    return [
        {**market._asdict(), "table": table, **backend.stats(table, market)._asdict()}
        for market in markets
        for table in backend.tables(market)
    ]
