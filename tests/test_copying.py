from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from collector import copying
from collector.copying import compare, copy_days, days_of
from storage_backends.contract import MARKET, OTHER, SECOND_WRITER, got, put
from storage_backends.contract.rows import row, rows, time_ns
from storage_backends.errors import TransientBackendError
from storage_backends.interface import Backend
from storage_backends.open import open_backend
from storage_backends.place import settings_of
from storage_backends.schema import TABLES
from storage_backends.settings import StoreSettings
from tests.live.harness import collector

FEW = ("trades", "diffs", "depth", "book_ticker", "gaps")
"""With and without lists, ids and times for keys: enough where it does not matter which table it is."""


def filled(folder: Path, tables: Iterable[str]) -> Backend:
    """Rows of two days, in two writes that share some of them, and of another market."""
    store = open_backend("local", folder)
    for table in tables:
        for first in (0, 8):
            put(store, table, rows(table, range(first, first + 12)))
    put(store, "trades", rows("trades", range(5)), market=OTHER)
    return store


@pytest.fixture
def source(tmp_path: Path) -> Backend:
    return filled(tmp_path / "source", FEW)


@pytest.fixture
def target(tmp_path: Path) -> Backend:
    return open_backend("local", tmp_path / "target", "jsonl")


def run(source: Backend, target: Backend) -> copying.CopyReport:
    return copy_days(source, target, days_of(source, source.markets()), lambda day: None)


def same(source: Backend, target: Backend) -> bool:
    return source.markets() == target.markets() and all(
        got(source, table, market) == got(target, table, market)
        for market in source.markets()
        for table in source.tables(market)
    )


def test_every_row_arrives_once_and_a_second_run_has_nothing_to_do(tmp_path: Path, target: Backend) -> None:
    source = filled(tmp_path / "source", TABLES)
    first = run(source, target)
    assert (first.copied, first.present, first.problems) == (2 * len(TABLES) + 1, 0, [])
    assert first.rows == 20 * len(TABLES) + 5
    assert same(source, target)
    second = run(source, target)
    assert (second.copied, second.present) == (0, first.copied)
    assert target.stats("trades", MARKET).rows == 20


def test_a_run_that_broke_off_goes_on(source: Backend, target: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_PIECE_ROWS", 3)
    monkeypatch.setattr(copying, "_PIECE_ROWS_WITH_LISTS", 2)
    write, broken = type(target)._write, 0
    left = [0]

    def few(self: Any, *args: Any) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        write(self, *args)

    monkeypatch.setattr(type(target), "_write", few)
    while True:
        left[0] = 5
        try:
            report = run(source, target)
        except KeyboardInterrupt:
            broken += 1
        else:
            break
    assert broken > 5
    assert report.problems == []
    assert same(source, target)
    for table in FEW:
        assert target.stats(table, MARKET).rows == 20, "no piece was written twice"


def test_what_fails_for_the_moment_is_tried_again(
    source: Backend, target: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, failures = type(target)._write, iter([TransientBackendError("busy")] * 3)

    def flaky(self: Any, *args: Any) -> None:
        for error in failures:
            raise error
        write(self, *args)

    monkeypatch.setattr(type(target), "_write", flaky)
    monkeypatch.setattr(copying._write.retry, "sleep", lambda _: None)  # type: ignore[attr-defined]
    assert run(source, target).problems == []
    assert same(source, target)


def test_rows_that_the_target_had_before_stay(source: Backend, target: Backend) -> None:
    """Some of its own, and for some keys better ones or others that the source's are better than."""
    put(target, "trades", rows("trades", [30, 31]))
    put(
        target,
        "book_ticker",
        [row("book_ticker", 3, recv_ns=time_ns(2.9)), row("book_ticker", 9, recv_ns=time_ns(10.1))],
    )
    assert run(source, target).problems == []
    assert got(target, "trades") == rows("trades", [*range(20), 30, 31])
    merged = [row("book_ticker", 3, recv_ns=time_ns(2.9)) if at == 3 else row("book_ticker", at) for at in range(20)]
    assert got(target, "book_ticker") == merged
    assert run(source, target).copied == 0


def test_a_day_that_differs_is_seen(source: Backend, target: Backend) -> None:
    run(source, target)
    (day, *_) = [day for day in days_of(source, [MARKET], ("trades",)) if day.share]
    assert compare(source, target, day) == (10, True)
    put(source, "trades", [row("trades", 4, agg_trade_id=row("trades", 4)["agg_trade_id"] * 2)], writer=SECOND_WRITER)
    assert compare(source, target, day)[1] is False


def test_a_target_that_loses_rows(source: Backend, target: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(target), "_write", lambda *args: None)
    report = run(source, target)
    assert len(report.problems) == report.copied == 2 * len(FEW) + 1
    assert "trades 2024-07-18: the target does not give" in " ".join(report.problems)


def test_only_what_is_named_is_copied(source: Backend, target: Backend) -> None:
    copy_days(source, target, days_of(source, [MARKET], ("depth", "gaps")), lambda day: None)
    assert target.tables(MARKET) == ["depth", "gaps"]


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("local:data/here", {"backend": "local", "data_dir": Path("data/here")}),
        ("s3://bucket", {"backend": "s3", "s3_bucket": "bucket", "s3_prefix": ""}),
        ("s3://bucket/a/b", {"backend": "s3", "s3_bucket": "bucket", "s3_prefix": "a/b"}),
        ("bigtable:p/i", {"backend": "bigtable", "bigtable_project_id": "p", "bigtable_instance_id": "i"}),
    ],
)
def test_stores_in_a_word(text: str, fields: dict[str, Any]) -> None:
    found = settings_of(text, StoreSettings(s3_region="eu-west-1"))
    assert {name: getattr(found, name) for name in fields} == fields
    assert found.s3_region == "eu-west-1"


@pytest.mark.parametrize("text", ["data", "local:", "s3://", "s3:bucket", "bigtable:p", "bigtable:/i", "redis:x"])
def test_words_that_name_no_store(text: str) -> None:
    with pytest.raises(ValueError, match="local:PATH"):
        settings_of(text, StoreSettings())


def test_the_command(source: Backend, tmp_path: Path) -> None:
    from tests.storage_backends import s3_server

    here, elsewhere = f"local:{tmp_path / 'source'}", f"local:{tmp_path / 'elsewhere'}"
    with s3_server.store() as url:
        location = s3_server.new_location(url)
        between: Callable[..., Any] = lambda one, other: json.loads(  # noqa: E731
            collector("copy", "--from", one, "--to", other, "--s3-endpoint-url", url, "--json").stdout
        )
        assert between(here, str(location))["problems"] == []
        assert between(here, str(location))["copied"] == 0
        assert between(str(location), elsewhere)["rows"] == 20 * len(FEW) + 5
    assert same(source, open_backend("local", tmp_path / "elsewhere"))
    for arguments in (("--from", here, "--to", here), ("--from", "x", "--to", here), ("--from", here, "--to", "")):
        done = collector("copy", *arguments, check=False)
        assert done.returncode == 2, done
        assert "--" in done.stderr
