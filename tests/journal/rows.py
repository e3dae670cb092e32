"""Batches with numbered rows, so that a test can say which ones are where."""

from __future__ import annotations

import numpy as np

from collector.core.batch import Batch, Fixed
from storage_backends.interface import Market

BTC = Market("binanceusdm", "BTCUSDT")
ETH = Market("binanceusdm", "ETHUSDT")
START_NS = 1_721_260_800_000_000_000
NO_LIMITS = {"before_ns": 1 << 62, "max_rows": 1 << 40, "max_bytes": 1 << 40}


def numbered(first: int, rows: int = 1, table: str = "book_ticker") -> Batch:
    """`rows` rows of book_ticker whose update_id counts from `first`."""
    ids = np.arange(first, first + rows, dtype=np.int64)
    return Batch(
        table,
        {
            "update_id": ids,
            "bid_price": Fixed(ids + 100, 1),
            "bid_quantity": Fixed(ids * 0 + 5, 3),
            "ask_price": Fixed(ids + 101, 1),
            "ask_quantity": Fixed(ids * 0 + 7, 3),
            "event_time": [None] * rows,
            "transact_time": [None] * rows,
            "recv_ns": START_NS + ids,
        },
    )


def numbers(batches: list[Batch]) -> list[int]:
    """The update ids in `batches`."""
    return [int(id_) for batch in batches for id_ in batch.columns["update_id"]]  # type: ignore[union-attr]
