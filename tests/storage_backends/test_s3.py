from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import tenacity

from storage_backends import parquet, s3, s3_client
from storage_backends.contract import MARKET, OTHER, SECOND_WRITER, WRITER, got, put
from storage_backends.contract_rows import arrow, row, rows, time_ns
from storage_backends.days import Day
from storage_backends.errors import PermanentBackendError, SetupError, StorageFull, TransientBackendError
from storage_backends.open import open_days, open_store
from storage_backends.s3 import S3Backend, S3Days
from storage_backends.s3_client import Location, S3Client
from storage_backends.settings import StoreSettings
from tests.storage_backends.s3_proxy import S3Proxy, proxy
from tests.storage_backends.s3_server import client, keys

HASH = "0123abcd" * 8
FOLDER = f"tables/of-a-test/trades/exchange={MARKET.exchange}/symbol={MARKET.symbol}"


@pytest.fixture
def between(location: Location, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Proxy]:
    """A proxy before the store. Reads are repeated without pauses."""
    monkeypatch.setattr(tenacity.nap.time, "sleep", lambda _: None)
    with proxy(str(location.endpoint_url)) as made:
        yield made


@pytest.fixture
def backend(location: Location, between: S3Proxy) -> S3Backend:
    return S3Backend(replace(location, endpoint_url=between.url))


def merged(location: Location) -> list[Day]:
    days = S3Days(location)
    with days.alone() as held:
        assert held
        return [days.compact(day) for day in list(days.days())]


# One PUT a file, whole or not at all


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


# What a store may answer


@pytest.mark.parametrize(
    ("status", "code", "kind", "mend"),
    [
        (503, "SlowDown", TransientBackendError, "SlowDown"),
        (500, "InternalError", TransientBackendError, "InternalError"),
        (409, "ConditionalRequestConflict", TransientBackendError, "Conflict"),
        (403, "ExpiredToken", SetupError, "AWS_PROFILE"),
        (403, "InvalidAccessKeyId", SetupError, "AWS_ACCESS_KEY_ID"),
        (403, "AccessDenied", SetupError, "s3:PutObject"),
        (403, "RequestTimeTooSkewed", SetupError, "clock"),
        (404, "NoSuchBucket", SetupError, "--s3-bucket"),
        (400, "AuthorizationHeaderMalformed", SetupError, "--s3-region"),
        (507, "XMinioStorageFull", StorageFull, "make room"),
        (400, "EntityTooLarge", PermanentBackendError, "EntityTooLarge"),
    ],
)
def test_every_answer_is_told_apart_and_says_what_to_mend(
    backend: S3Backend, between: S3Proxy, status: int, code: str, kind: type[Exception], mend: str
) -> None:
    between.fault = lambda method, path: ("answer", status, code, {"Retry-After": "7"}) if method == "PUT" else None
    with pytest.raises(kind, match=mend) as caught:
        put(backend, "trades", rows("trades", range(3)))
    assert type(caught.value) is kind
    if kind is TransientBackendError:
        assert caught.value.retry_after_s == 7.0  # type: ignore[attr-defined]


def test_a_store_that_nobody_answers_for(location: Location, between: S3Proxy) -> None:
    away = S3Backend(replace(location, endpoint_url="http://127.0.0.1:9"))
    with pytest.raises(TransientBackendError, match="--s3-endpoint-url"):
        put(away, "trades", rows("trades", [1]))


def test_a_bucket_that_is_not_there_is_named(location: Location) -> None:
    nowhere = S3Backend(replace(location, bucket="never-made"))
    for ask in (nowhere.check, nowhere.markets, lambda: put(nowhere, "trades", rows("trades", [1]))):
        with pytest.raises(SetupError, match=r"s3://never-made.*--s3-bucket"):
            ask()


def test_credentials_are_looked_up_anew_once(
    backend: S3Backend, between: S3Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected = []
    connect = s3_client._connect
    monkeypatch.setattr(s3_client, "_connect", lambda location: connected.append(1) or connect(location))
    answers = iter(["ExpiredToken"])

    def expired_once(method: str, path: str) -> tuple[object, ...] | None:
        return ("answer", 403, "ExpiredToken", {}) if next(answers, None) else None

    between.fault = expired_once
    put(backend, "trades", rows("trades", range(3)))
    assert len(connected) == 2
    between.fault = lambda method, path: ("answer", 403, "ExpiredToken", {})
    with pytest.raises(SetupError):
        put(backend, "trades", rows("trades", range(3, 5)))
    assert len(connected) == 3


def test_no_credentials_at_all(location: Location, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(SetupError, match="AWS_PROFILE"):
        S3Backend(replace(location, region="eu-west-1")).check()


def test_reads_are_repeated_while_what_fails_passes(backend: S3Backend, between: S3Proxy) -> None:
    put(backend, "trades", rows("trades", range(3)))
    numbers = itertools.count()
    faults: list[tuple[object, ...]] = [("answer", 503, "SlowDown", {}), ("commit and drop",), ("answer", 500, "X", {})]
    between.fault = lambda method, path: faults[number] if (number := next(numbers)) < 3 else None
    assert got(backend, "trades") == rows("trades", range(3))
    between.fault = lambda method, path: ("answer", 503, "SlowDown", {})
    with pytest.raises(TransientBackendError, match="SlowDown"):
        got(backend, "trades")


def test_checking_may_be_forbidden_to_delete(backend: S3Backend, between: S3Proxy, location: Location) -> None:
    backend.check()
    assert keys(location) == []
    between.fault = lambda method, path: ("answer", 403, "AccessDenied", {}) if method == "DELETE" else None
    backend.check()
    assert keys(location) == ["tables/of-a-test/.check"]
    assert backend.markets() == []


# Reading no more than is needed


def test_a_range_lists_and_reads_only_its_dates(backend: S3Backend, between: S3Proxy) -> None:
    for first in range(-864_000, 864_000, 43_200):
        put(backend, "trades", rows("trades", range(first, first + 3)))
    between.asked.clear()
    assert got(backend, "trades", start_ns=time_ns(0), end_ns=time_ns(5)) == rows("trades", range(3))
    listings = [one for one in between.asked if "list-type" in one.path]
    reads = [one for one in between.asked if one.span]
    assert len(listings) == 1
    assert "date%3D2024-07-18" in listings[0].path or "date=2024-07-18" in listings[0].path
    assert len(reads) == 2  # two files have that date


def test_only_wanted_columns_and_row_groups_are_fetched(
    backend: S3Backend, between: S3Proxy, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 20_000)
    count = 200_000
    made = pa.Table.from_pylist(rows("trades", [1]), schema=arrow("trades", []).schema)
    ids = pa.array(range(count), pa.int64())
    made = pa.concat_tables([made] * count).combine_chunks()
    for name in ("agg_trade_id", "first_id", "last_id"):
        made = made.set_column(made.schema.get_field_index(name), made.schema.field(name), ids)
    start_ms = time_ns(20) // 1_000_000
    times = pa.array(range(start_ms, start_ms + count), pa.int64())
    made = made.set_column(made.schema.get_field_index("timestamp"), made.schema.field("timestamp"), times)
    noise = pa.array([hash((at, "x")) / 2**64 for at in range(count)])
    made = made.set_column(made.schema.get_field_index("price"), made.schema.field("price"), noise)
    backend.write("trades", MARKET, made, writer=WRITER, content_hash=HASH)
    size = backend.stats("trades", MARKET).bytes
    between.asked.clear()
    from_ns = (start_ms + 100_000) * 1_000_000
    how: dict[str, Any] = {"start_ns": from_ns, "end_ns": from_ns + 10_000_000}
    assert len(got(backend, "trades", **how)) == 10
    everything = sum(one.bytes for one in between.asked if one.span)
    between.asked.clear()
    assert len(got(backend, "trades", columns=["quantity"], **how)) == 10
    narrow = sum(one.bytes for one in between.asked if one.span)
    assert everything < s3.TAIL_BYTES + size / 4
    assert narrow < everything / 2


def test_counting_reads_ends_of_files_alone(backend: S3Backend, between: S3Proxy) -> None:
    for first in (0, 5):
        put(backend, "trades", rows("trades", range(first, first + 5)))
    between.asked.clear()
    assert backend.stats("trades", MARKET).rows == 10
    assert [one.span for one in between.asked if one.span] == [f"bytes=-{s3.TAIL_BYTES}"] * 2


def test_listings_of_many_pages(backend: S3Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_client, "_PAGE", 3)
    for at in range(0, 20, 2):
        put(backend, "trades", rows("trades", range(at, at + 3)))
    assert got(backend, "trades") == rows("trades", range(21))
    assert got(backend, "trades", start_ns=time_ns(10)) == rows("trades", range(10, 21))
    assert backend.stats("trades", MARKET).files == 11


# Days


def test_a_reader_that_listed_before_a_merge_goes_on(
    backend: S3Backend, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    for first in range(0, 30, 3):
        put(backend, "trades", rows("trades", range(first, first + 5)))
    scan = backend.scan("trades", MARKET)
    found = next(scan).to_pylist()
    merged(location)
    found += [made for batch in scan for made in batch.to_pylist()]
    assert found == rows("trades", range(32))
    assert len(keys(location)) == 2


def test_a_listing_over_pages_never_lacks_both_old_and_new(
    backend: S3Backend, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first page is read before the new file is there, the second when the old ones are gone."""
    for first in range(0, 9, 3):
        put(backend, "trades", rows("trades", range(first, first + 3)))
    monkeypatch.setattr(s3_client, "_PAGE", 2)
    pages, done = S3Client.pages, []

    def slow(self: S3Client, *args: Any, **how: Any) -> Iterator[dict[str, Any]]:
        for number, page in enumerate(pages(self, *args, **how)):
            yield page
            if number == 0 and not done and self is backend._files._client:
                done.append(True)
                merged(location)

    monkeypatch.setattr(S3Client, "pages", slow)
    assert got(backend, "trades") == rows("trades", range(9))
    assert done


def test_a_day_that_was_merged_before_the_process_died_is_merged_again(backend: S3Backend, location: Location) -> None:
    for first in (0, 3, 6):
        put(backend, "trades", rows("trades", range(first, first + 4)))
    days = S3Days(location)
    (day,) = list(days.days())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S3Client, "delete", lambda self, path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            days.compact(day)
    assert len(keys(location)) == 4
    assert got(backend, "trades") == rows("trades", range(10))
    merged(location)
    assert len(keys(location)) == 1
    assert backend.stats("trades", MARKET).rows == 10


def test_two_that_merge_the_same_day_lose_nothing(backend: S3Backend, location: Location) -> None:
    for first in (0, 3):
        put(backend, "trades", rows("trades", range(first, first + 3)))
    one, other = S3Days(location), S3Days(location)
    (day,) = list(one.days())
    scan = other._store.scan

    def late(*args: Any) -> Any:
        put(backend, "trades", rows("trades", [7]), writer=SECOND_WRITER)
        one.compact(day)
        return scan(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(other._store, "scan", late)
        other.compact(day)
    assert got(backend, "trades") == rows("trades", [*range(6), 7])


def test_the_lock_is_held_by_one_and_left_by_the_dead(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    with S3Days(location).alone() as first, S3Days(location).alone() as second:
        assert (first, second) == (True, False)
    assert keys(location) == []
    S3Client(location).put(".compact.lock", b"", hashlib.md5(b"", usedforsecurity=False).digest(), {})
    with S3Days(location).alone() as held:
        assert not held
    monkeypatch.setattr(s3, "LOCK_S", -1.0)
    with S3Days(location).alone() as held:
        assert held


def test_a_deleted_day_is_gone_wholly_and_nothing_else(backend: S3Backend, location: Location) -> None:
    put(backend, "trades", rows("trades", range(8, 13)))
    put(backend, "diffs", rows("diffs", range(8, 13)))
    put(backend, "trades", rows("trades", [1]), market=OTHER)
    days = S3Days(location)
    days.delete(next(day for day in days.days() if day[:3] == ("trades", MARKET, dt.date(2024, 7, 18))))
    assert got(backend, "trades") == rows("trades", range(10, 13))
    assert got(backend, "diffs") == rows("diffs", range(8, 13))
    assert got(backend, "trades", OTHER) == rows("trades", [1])
    assert not any(key.endswith("_deleted") for key in keys(location))


def test_death_while_deleting_leaves_a_day_out_of_sight(backend: S3Backend, location: Location) -> None:
    for first in (0, 3):
        put(backend, "trades", rows("trades", range(first, first + 3)))
    days = S3Days(location)
    (day,) = list(days.days())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S3Client, "delete", lambda self, path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            days.delete(day)
    assert got(backend, "trades") == []
    assert len(keys(location)) == 3
    days.delete(day)
    assert keys(location) == []


def test_a_day_whose_deletion_was_cut_off_takes_rows_again_or_goes_with_the_next_one(
    backend: S3Backend, location: Location
) -> None:
    """Nobody lists it any more, so nobody would finish it, and rows put there would be hidden for good."""
    put(backend, "trades", rows("trades", range(5)))  # of one date
    put(backend, "trades", rows("trades", range(10, 13)))  # and of the next
    first, second = list(S3Days(location).days())

    def cut_off(day: Day) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(S3Client, "delete", lambda self, path: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                S3Days(location).delete(day)

    cut_off(first)
    put(S3Backend(location), "trades", rows("trades", range(2, 5)), content_hash="ab" * 32)
    assert got(backend, "trades") == rows("trades", [*range(2, 5), *range(10, 13)])
    cut_off(first)
    S3Days(location).delete(second)
    assert keys(location) == []


# Settings


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"s3_bucket": None}, "--s3-bucket"),
        ({"s3_bucket": "Not A Bucket"}, "--s3-bucket 'Not A Bucket'"),
        ({"s3_prefix": "../x"}, "--s3-prefix"),
        ({"s3_endpoint_url": "127.0.0.1:9000"}, "--s3-endpoint-url"),
    ],
)
def test_settings_that_cannot_be_are_named(wrong: dict[str, str], named: str) -> None:
    settings = replace(StoreSettings(backend="s3", s3_bucket="bucket"), **wrong)  # type: ignore[arg-type]
    for opens in (open_store, open_days):
        with pytest.raises(ValueError, match=named):
            opens(settings)


def test_opening_imports_no_boto3() -> None:
    program = (
        "import sys; from storage_backends.open import open_store; from storage_backends.settings import StoreSettings;"
        "open_store(StoreSettings(backend='s3', s3_bucket='bucket')); print('boto3' in sys.modules)"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={"PYTHONPATH": root}, check=True
    )
    assert done.stdout.strip() == "False"


def test_a_market_in_letters_of_any_script(backend: S3Backend) -> None:
    market = OTHER._replace(symbol="币安人生USDT")
    put(backend, "trades", [row("trades", 1)], market=market)
    assert backend.markets() == [market]
    assert got(backend, "trades", market) == [row("trades", 1)]
