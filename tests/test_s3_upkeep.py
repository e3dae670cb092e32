"""What `doctor`, `compact` and a live run's housekeeping do with a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from collector.clock import SystemClock
from collector.doctor.store import check_backend
from collector.settings import RunSettings
from storage_backends.contract import MARKET, got, put
from storage_backends.contract.rows import rows
from storage_backends.s3 import S3Backend, S3Days
from storage_backends.s3_client import Location
from storage_backends.settings import StoreSettings
from tests.live.harness import collector
from tests.storage_backends import s3_server
from tests.test_housekeeping import HOUR_S, House, chosen

__all__ = ["chosen"]


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    with s3_server.store() as url:
        yield url


@pytest.fixture
def location(s3_url: str) -> Location:
    return s3_server.new_location(s3_url)


@pytest.fixture
def settings(location: Location, tmp_path: Path) -> StoreSettings:
    return StoreSettings(
        backend="s3",
        data_dir=tmp_path,
        s3_bucket=location.bucket,
        s3_prefix=location.prefix,
        s3_endpoint_url=location.endpoint_url,
    )


def options(location: Location) -> list[str]:
    url = str(location.endpoint_url)
    return ["--backend", "s3", "--s3-bucket", location.bucket, "--s3-prefix", location.prefix, "--s3-endpoint-url", url]


def test_doctor_writes_reads_and_leaves_nothing(settings: StoreSettings, location: Location) -> None:
    put(S3Backend(location), "trades", rows("trades", range(3)))
    before = s3_server.keys(location)
    assert check_backend(settings, SystemClock()).level == "ok"
    assert s3_server.keys(location) == before
    missing = check_backend(replace(settings, s3_bucket="never-made"), SystemClock())
    assert missing.level == "FAIL"
    assert "--s3-bucket" in missing.found


def test_compact_merges_and_deletes_days(location: Location) -> None:
    store = S3Backend(location)
    for first in (0, 6, 12):
        put(store, "trades", rows("trades", range(first, first + 8)))
    assert "2 days merged" in collector("compact", *options(location)).stdout
    assert [day.compacted for day in S3Days(location).days()] == [True, True]
    assert got(store, "trades") == rows("trades", range(20))
    done = collector("compact", "--retain-days", "90", *options(location))
    assert "2 dates deleted" in done.stdout
    assert got(store, "trades") == []
    kinds = [row["kind"] for row in got(store, "events")]
    assert kinds == ["day_deleted"] * 2


async def test_once_an_hour_a_live_run_merges_days(
    chosen: RunSettings, settings: StoreSettings, location: Location
) -> None:
    store, house = S3Backend(location), House(replace(chosen, store=settings))
    for first in (0, 2):
        put(store, "trades", rows("trades", range(first, first + 3)))
    house.moved.advance(HOUR_S)
    with S3Days(location).alone():
        await house.check()
    assert house.said == [], "another collector is at it"
    assert store.stats("trades", MARKET).files == 2
    house.moved.advance(HOUR_S)
    await house.check()
    assert house.said == []
    assert store.stats("trades", MARKET).files == 1
    assert got(store, "trades") == rows("trades", range(5))


@pytest.mark.parametrize("command", ["stats", "verify", "gaps", "compact"])
def test_a_bucket_that_is_not_there_is_one_line(location: Location, command: str) -> None:
    done = collector(command, *options(replace(location, bucket="never-made")), check=False)
    assert done.returncode == 2
    assert "--s3-bucket" in done.stderr
    assert len(done.stderr.splitlines()) == 1
