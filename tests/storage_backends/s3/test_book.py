"""A book at an instant, out of a bucket: the nearest anchor and what follows on it, not the day."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from collector.audit.instant import book_at
from storage_backends import parquet
from storage_backends.contract import MARKET, put
from storage_backends.contract.rows import MIDNIGHT, row, time_ns
from storage_backends.s3 import S3Backend
from storage_backends.s3_client import Location
from tests.storage_backends.s3_proxy import proxy
from tests.storage_backends.s3_server import client, keys

SECONDS, EVERY, LEVELS = 5400, 600, 12


def sides(chance: random.Random) -> dict[str, list[float]]:
    def quantities() -> list[float]:
        return [chance.randint(1, 10**9) / 1000 for _ in range(LEVELS)]

    return {
        "bid_price": [60_000.0 - level for level in range(LEVELS)],
        "bid_quantity": quantities(),
        "ask_price": [60_001.0 + level for level in range(LEVELS)],
        "ask_quantity": quantities(),
    }


def test_only_what_follows_on_the_nearest_anchor_is_fetched(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 120)
    chance, store = random.Random(1), S3Backend(location)
    diffs: list[dict[str, Any]] = []
    anchors: list[dict[str, Any]] = []
    for at in range(MIDNIGHT, MIDNIGHT + SECONDS):
        ids = {"first_id": at * 10 - 8, "last_id": at * 10, "prev_id": at * 10 - 10}
        diffs.append(row("diffs", at, recv_ns=time_ns(at), **ids, **sides(chance)))
        if at % EVERY == 0:
            anchors.append(
                row("snapshots", at, last_update_id=at * 10, recv_ns=time_ns(at), limit=1000, **sides(chance))
            )
    put(store, "diffs", diffs)
    put(store, "snapshots", anchors)
    sizes = {
        key: client(str(location.endpoint_url)).head_object(Bucket=location.bucket, Key=key)["ContentLength"]
        for key in keys(location)
    }
    (size,) = [size for key, size in sizes.items() if "/diffs/" in key]
    asked_at = MIDNIGHT + SECONDS - 900
    with proxy(str(location.endpoint_url)) as between:
        known = book_at(S3Backend(replace(location, endpoint_url=between.url)), MARKET, time_ns(asked_at))
    assert known is not None
    assert known.anchor_id == (asked_at - 1) // EVERY * EVERY * 10
    assert known.book.last_id == (asked_at - 1) * 10
    newest = diffs[asked_at - 1 - MIDNIGHT]
    quantities = (known.book.bids.quantity / 10**known.book.quantity_places).tolist()
    assert quantities == newest["bid_quantity"][::-1]
    fetched = sum(one.bytes for one in between.asked if one.span and "/diffs/" in one.path)
    assert 0 < fetched < size / 4, f"{fetched:,} of {size:,} bytes"
