"""What is computed from real captures, against plain arithmetic: bars, books on a grid, partial books."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from storage_backends.interface import Market
from tests.live.captures import FUTURES_FILES, SPOT_FILES, Line, TextBook, captures, read, write
from tests.live.harness import collector
from tests.stores import open_local, rows


class Derived(NamedTuple):
    """The beginning of a capture, with partial books that were made of it, and the tables of its replay."""

    lines: list[Line]
    partial: dict[int, dict[str, Any]]
    tables: dict[str, list[dict[str, Any]]]


def partial_lines(lines: list[Line], partial: dict[int, dict[str, Any]]) -> Iterator[Line]:
    """The lines, and after some diffs the best 20 levels as spot streams them, from a book of texts."""
    book: TextBook | None = None
    waiting: list[Line] = []
    for number, line in enumerate(lines):
        yield line
        if line.channel is None and book is None:
            book = TextBook(line.message)
            for diff in waiting:
                book.apply(diff.message)
        elif line.channel == "depth":
            if book is None:
                waiting.append(line)
                continue
            book.apply(line.message)
            if number % 7 == 0:
                body = book.snapshot(20)
                partial[book.last_id] = body
                text = json.dumps({"stream": "btcusdt@depth20@100ms", "data": body}, separators=(",", ":"))
                yield Line(line.recv_ns, "depth20", body, b"%d %b\n" % (line.recv_ns, text.encode()))


@pytest.fixture(scope="module", params=["binanceusdm", "binance"])
def derived(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Derived:
    exchange: str = request.param
    path = captures(*(FUTURES_FILES if exchange == "binanceusdm" else SPOT_FILES))[0]
    lines = list(islice(read(path), 9_000))
    folder: Path = tmp_path_factory.mktemp("derived")
    partial: dict[int, dict[str, Any]] = {}
    written = write(folder / "btcusdt_capture.txt", partial_lines(lines, partial))
    options = ("--bars", "1s,5s", "--book-grid", "100ms", "--book-depth", "20", "--tick-sizes", "10,50")
    collector("replay", written, "--exchange", exchange, "--data-dir", folder / "store", *options)
    store, market = open_local(folder / "store"), Market(exchange, "BTCUSDT")
    names = ("bars", "books", "partial_depth", "book_ticker", "events", "raw_trades", "multitick", "depth")
    return Derived(lines, partial, {name: rows(store, name, market) for name in names})


def test_nothing_was_quarantined(derived: Derived) -> None:
    assert not [row for row in derived.tables["events"] if row["kind"] in ("quarantine", "book_differs")]
    assert len(derived.tables["partial_depth"]) == len(derived.partial)


def test_books_on_the_grid_are_the_books_of_texts_and_the_partial_books(derived: Derived) -> None:
    partial = {row["last_update_id"]: row for row in derived.tables["partial_depth"]}
    compared = 0
    for row in derived.tables["books"]:
        body = derived.partial.get(row["last_update_id"])
        if body is None or not row["valid"]:
            continue
        compared += 1
        theirs = partial[row["last_update_id"]]
        for side, name in (("bids", "bid"), ("asks", "ask")):
            assert row[f"{name}_price"] == theirs[f"{name}_price"] == [float(price) for price, _ in body[side]]
            assert row[f"{name}_quantity"] == theirs[f"{name}_quantity"] == [float(some) for _, some in body[side]]
    assert compared > 30


def test_the_grid_agrees_with_best_quotes_of_equal_ids(derived: Derived) -> None:
    quotes = {row["update_id"]: row for row in derived.tables["book_ticker"]}
    common = [
        (row, quotes[row["last_update_id"]])
        for row in derived.tables["books"]
        if row["valid"] and row["last_update_id"] in quotes
    ]
    assert len(common) > 10
    for row, quote in common:
        assert (row["best_bid_price"], row["best_ask_price"]) == (quote["bid_price"], quote["ask_price"])
        assert (row["bid_quantity"][0], row["ask_quantity"][0]) == (quote["bid_quantity"], quote["ask_quantity"])


def test_bars_are_the_sums_of_the_trades(derived: Derived) -> None:
    trades = [line.message for line in derived.lines if line.channel == "trade"]
    trades = [one for one in trades if one.get("X") in (None, "MARKET")]
    compared = 0
    for bar in derived.tables["bars"]:
        if not bar["complete"]:
            continue
        inside = [one for one in trades if bar["open_time"] <= one["T"] < bar["open_time"] + bar["interval_ms"]]
        assert bar["late_trades"] == 0
        assert bar["empty"] == (not inside)
        assert bar["trades"] == len(inside)
        if not inside:
            continue
        compared += 1
        quantities = [Decimal(one["q"]) for one in inside]
        sold = sum((q for q, one in zip(quantities, inside, strict=True) if one["m"]), Decimal(0))
        quote = sum(Decimal(one["p"]) * Decimal(one["q"]) for one in inside)
        prices = [float(one["p"]) for one in inside]
        assert (bar["open"], bar["high"], bar["low"], bar["close"]) == (prices[0], max(prices), min(prices), prices[-1])
        assert (bar["volume"], bar["quote_volume"]) == (float(sum(quantities)), float(quote))
        assert (bar["sell_volume"], bar["buy_volume"]) == (float(sold), float(sum(quantities) - sold))
    assert compared > 40


def test_the_multi_tick_book_has_the_best_prices_of_each_second(derived: Derived) -> None:
    best = {row["epoch"]: (row["best_bid"], row["best_ask"]) for row in derived.tables["depth"]}
    found = [row for row in derived.tables["multitick"] if row["bid_price"]]
    assert {row["tick"] for row in found} == {10.0, 50.0}
    for row in found:
        assert (row["best_bid"], row["best_ask"]) == best[row["epoch"]]
        assert row["bid_price"][0] <= row["best_bid"]
        if row["ask_price"]:
            assert row["ask_price"][0] >= row["best_ask"]
