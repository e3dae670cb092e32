"""One PUT a file, whole or not at all."""

from __future__ import annotations

import pytest

from storage_backends.contract import MARKET, OTHER, WRITER, got, put
from storage_backends.contract.rows import row, rows
from storage_backends.errors import PermanentBackendError, TransientBackendError
from storage_backends.s3 import S3Backend
from storage_backends.s3_client import Location
from tests.storage_backends.s3_proxy import S3Proxy
from tests.storage_backends.s3_server import client, keys

HASH = "0123abcd" * 8


FOLDER = f"tables/of-a-test/trades/exchange={MARKET.exchange}/symbol={MARKET.symbol}"


def test_a_write_is_one_create_only_put(backend: S3Backend, between: S3Proxy, location: Location) -> None:
    put(backend, "trades", rows("trades", range(3)), content_hash=HASH)
    between.asked.clear()
    put(backend, "trades", rows("trades", range(3, 6)), content_hash=HASH)
    ids = [made["agg_trade_id"] for made in rows("trades", range(3, 6))]
    name = f"date=2024-07-18/part-{ids[0]}-{ids[-1]}-{WRITER}.0123abcd.parquet"
    assert [(one.method, one.status) for one in between.asked] == [("PUT", 200)]
    stored = client(str(location.endpoint_url)).head_object(Bucket=location.bucket, Key=f"{FOLDER}/{name}")
    assert stored["Metadata"]["content-hash"] == HASH


def test_the_hash_beside_an_object_decides_what_a_412_means(backend: S3Backend, between: S3Proxy) -> None:
    put(backend, "trades", rows("trades", range(3)), content_hash=HASH)
    between.asked.clear()
    put(backend, "trades", rows("trades", range(3)), content_hash=HASH)
    assert [(one.method, one.status) for one in between.asked] == [("PUT", 412), ("HEAD", 200)]
    with pytest.raises(PermanentBackendError, match=r"s3://test-.*: holds other content"):
        put(backend, "trades", rows("trades", range(3)), content_hash=HASH[:8] + "f" * 56)


def test_an_object_that_was_copied_without_its_metadata_says_its_hash_itself(
    backend: S3Backend, location: Location
) -> None:
    put(backend, "trades", rows("trades", range(3)), content_hash=HASH)
    store = client(str(location.endpoint_url))
    (key,) = keys(location)
    body = store.get_object(Bucket=location.bucket, Key=key)["Body"].read()
    store.put_object(Bucket=location.bucket, Key=key, Body=body)
    put(backend, "trades", rows("trades", range(3)), content_hash=HASH)
    assert keys(location) == [key]


def test_of_several_dates_none_is_written_when_one_is_refused(backend: S3Backend, location: Location) -> None:
    put(backend, "trades", rows("trades", range(10, 13)), content_hash=HASH)
    before = keys(location)
    with pytest.raises(PermanentBackendError, match="holds other content"):
        put(backend, "trades", rows("trades", range(8, 13)), content_hash=HASH[:8] + "f" * 56)
    assert keys(location) == before


def test_an_upload_that_breaks_off_is_never_visible(backend: S3Backend, between: S3Proxy, location: Location) -> None:
    between.fault = lambda method, path: ("cut",) if method == "PUT" else None
    with pytest.raises(TransientBackendError):
        put(backend, "trades", rows("trades", range(3)), content_hash=HASH)
    assert keys(location) == []
    between.fault = lambda method, path: None
    put(backend, "trades", rows("trades", range(3)), content_hash=HASH)
    assert got(backend, "trades") == rows("trades", range(3))


def test_an_answer_that_gets_lost_leaves_one_copy(backend: S3Backend, between: S3Proxy, location: Location) -> None:
    between.fault = lambda method, path: ("commit and drop",) if method == "PUT" else None
    with pytest.raises(TransientBackendError):
        put(backend, "trades", rows("trades", range(3)), content_hash=HASH)
    between.fault = lambda method, path: None
    put(backend, "trades", rows("trades", range(3)), content_hash=HASH)
    assert len(keys(location)) == 1
    assert backend.stats("trades", MARKET).rows == 3


def test_a_market_in_letters_of_any_script(backend: S3Backend) -> None:
    market = OTHER._replace(symbol="币安人生USDT")
    put(backend, "trades", [row("trades", 1)], market=market)
    assert backend.markets() == [market]
    assert got(backend, "trades", market) == [row("trades", 1)]
