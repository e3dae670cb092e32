"""Two stores side by side: the same rows in every core table, as a scan gives them."""

from __future__ import annotations

from typing import Any

from storage_backends.interface import Backend, Market

CORE_TABLES = (
    "depth",
    "diffs",
    "snapshots",
    "trades",
    "raw_trades",
    "book_ticker",
    "mark_price",
    "liquidations",
    "klines",
    "partial_depth",
    "polled_books",
    "open_interest",
    "bars",
    "books",
    "multitick",
    "features",
    "forecasts",
    "gaps",
    "events",
)
"""The tables whose rows follow from the market core's inputs alone, so that a replay gives them again."""


def rows_of(store: Backend, table: str, market: Market) -> list[dict[str, Any]]:
    """All rows of a market in a table, in key order."""
    return [row for batch in store.scan(table, market) for row in batch.to_pylist()]


def differences(one: Backend, other: Backend, market: Market, tables: tuple[str, ...] = CORE_TABLES) -> dict[str, str]:
    """The tables in which the stores differ, with the first difference of each; empty when they agree."""
    found: dict[str, str] = {}
    for table in tables:
        mine, theirs = rows_of(one, table, market), rows_of(other, table, market)
        if repr(mine) == repr(theirs):  # by text, since NaN does not equal itself
            continue
        at = next((at for at, (a, b) in enumerate(zip(mine, theirs, strict=False)) if repr(a) != repr(b)), None)
        found[table] = f"{len(mine)} and {len(theirs)} rows"
        if at is not None:
            found[table] += f"; row {at}: {mine[at]} is not {theirs[at]}"
    return found
