"""What every backend must pass, and how tests write to a store and read it.

`suite.BackendContract` puts the contract together; `rows` makes the rows.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from storage_backends.contract.rows import arrow
from storage_backends.interface import Backend, Market
from storage_backends.reading import read

if TYPE_CHECKING:
    from collections.abc import Sequence

MARKET = Market("binanceusdm", "BTCUSDT")
OTHER = Market("binance", "ETHUSDT")
WRITER = "c0ffee00"
SECOND_WRITER = "decade01"

_numbers = itertools.count(1)


def new_hash() -> str:
    """A content hash that no other write has."""
    return f"{next(_numbers):08x}" * 8


def put(
    backend: Backend,
    table: str,
    made: Sequence[dict[str, Any]],
    *,
    market: Market = MARKET,
    writer: str = WRITER,
    content_hash: str | None = None,
) -> None:
    """Writes made-up rows, under a content hash of their own unless one is given."""
    content_hash = content_hash or new_hash()
    backend.write(table, market, arrow(table, made), writer=writer, content_hash=content_hash)


def got(backend: Backend, table: str, market: Market = MARKET, **how: Any) -> list[dict[str, Any]]:
    """What a scan gives."""
    found: list[dict[str, Any]] = read(backend, table, market, **how).to_pylist()
    return found


def counted(backend: Backend, table: str, market: Market = MARKET, **how: Any) -> int:
    """What a scan of no columns counts."""
    return sum(batch.num_rows for batch in backend.scan(table, market, columns=(), **how))
