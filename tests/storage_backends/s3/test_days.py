"""Days of a bucket: merged and deleted, while others read, write or die."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from storage_backends import s3, s3_client
from storage_backends.contract import MARKET, OTHER, SECOND_WRITER, got, put
from storage_backends.contract.rows import rows
from storage_backends.days import Day
from storage_backends.s3 import S3Backend, S3Days
from storage_backends.s3_client import Location, S3Client
from tests.storage_backends.s3_server import keys


def merged(location: Location) -> list[Day]:
    days = S3Days(location)
    with days.alone() as held:
        assert held
        return [days.compact(day) for day in list(days.days())]


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
