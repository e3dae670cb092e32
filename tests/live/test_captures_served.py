"""Real captures served by the simulator and collected live, against the same captures replayed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

import pytest

from collector.audit.rebuild import Units, read_anchors, read_diffs, rebuild
from collector.core.book import WHOLE_CEILING, WHOLE_FLOOR, Book
from storage_backends.interface import Market
from tests.live.captures import FUTURES_FILES, SPOT_FILES, captures, read, write
from tests.live.harness import Process, Simulator, collector, live
from tests.stores import open_local, rows

SLICE_S = 20
SPEED = 4
OURS = ("recv_ns", "connection")
"""Columns that are not the exchange's."""


def exchange_rows(data_dir: Path, market: Market, table: str) -> list[dict[str, object]]:
    """The rows without what receiving added to them."""
    return [
        {name: value for name, value in row.items() if name not in OURS}
        for row in rows(open_local(data_dir), table, market)
    ]


def books(data_dir: Path, market: Market) -> dict[int, Book]:
    """The book after each diff, by its last update."""
    store, units = open_local(data_dir), Units()
    steps = list(rebuild(read_diffs(store, market, units), read_anchors(store, market, units), units))
    return {step.diff.last_id: step.book.at_places(*units.places) for step in steps if step.book is not None}


def ladders(book: Book, floor: int, ceiling: int) -> list[list[int]]:
    """Prices and quantities of both sides where floor ≤ bid, ask ≤ ceiling."""
    sides = (book.bids.between(floor, WHOLE_CEILING), book.asks.between(WHOLE_FLOOR, ceiling))
    return [column.tolist() for side in sides for column in (side.price, side.quantity)]


@pytest.mark.parametrize(
    ("name", "market"),
    [(FUTURES_FILES[0], Market("binanceusdm", "BTCUSDT")), (SPOT_FILES[0], Market("binance", "BTCUSDT"))],
    ids=["futures", "spot"],
)
def test_a_capture_collected_live_gives_the_replays_rows_and_books(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path, name: str, market: Market
) -> None:
    (whole,) = captures(name)
    lines = read(whole)
    first = next(lines)
    end_ns = first.recv_ns + SLICE_S * 10**9
    path = write(tmp_path / "slice_btcusdt.ndjson", [first, *takewhile(lambda line: line.recv_ns < end_ns, lines)])
    collector("replay", path, "--exchange", market.exchange, "--data-dir", tmp_path / "replayed")

    simulator = simulate("--capture", str(path), "--speed", str(SPEED), "--start-delay", "1.5")
    streams = ("--streams", "depth,trade,bookTicker")
    process = live(simulator, tmp_path / "live", *streams, exchanges=(market.exchange,))
    processes.append(process)
    ends_s = time.monotonic() + 30
    while not simulator.get("/stat")["captures"][market.exchange]["ended"]:
        assert time.monotonic() < ends_s, simulator.get("/stat")
        time.sleep(0.1)
    time.sleep(0.3)
    assert process.stop() == 0, process.output

    for table in ("diffs", "raw_trades", "book_ticker"):
        mine, theirs = (exchange_rows(tmp_path / one, market, table) for one in ("live", "replayed"))
        assert mine == theirs, table
        assert len(mine) > 50
    mine, theirs = books(tmp_path / "live", market), books(tmp_path / "replayed", market)
    shared = sorted(mine.keys() & theirs.keys())
    assert len(shared) > 0.9 * len(exchange_rows(tmp_path / "live", market, "diffs"))
    levels = 0
    for last_id in shared:
        one, other = mine[last_id], theirs[last_id]
        assert one.price_places == other.price_places
        quantity = max(one.quantity_places, other.quantity_places)
        one, other = one.at_places(one.price_places, quantity), other.at_places(one.price_places, quantity)
        known = max(one.bid_floor, other.bid_floor), min(one.ask_ceiling, other.ask_ceiling)
        assert ladders(one, *known) == ladders(other, *known), last_id
        levels += len(ladders(one, *known)[0])
    assert levels > 500 * len(shared)
    report = json.loads(collector("verify", "--json", "--data-dir", tmp_path / "live").stdout)
    assert report["ok"], report
    (found,) = report["markets"]
    assert found["gaps"] == {}
    assert found["book"]["equal"] + found["book"]["unreported"] == found["book"]["compared"] >= len(shared)
    assert found["book"]["equal"] > 0.99 * found["book"]["compared"]
