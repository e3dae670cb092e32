"""Features on the real captures: against a book kept as a dictionary, against best quotes, and from the store."""

from __future__ import annotations

import json
from functools import cache
from heapq import nlargest, nsmallest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from click.testing import CliRunner

from collector.cli import collector
from tests.live.captures import FUTURES_FILES, SPOT_FILES, captures, read

NS = 1_000_000_000
NAMES = "mid,spread_bps,microprice,imbalance_1,imbalance_20,ofi,cvd,volume_buy,volume_sell"


class Told(NamedTuple):
    """What the capture itself says at the end of an epoch; `quote`: the newest best quote that the book includes."""

    imbalance: float
    of_diff: float | None
    quote: tuple[float, float, float, float] | None
    bought: float
    sold: float


def top(levels: dict[str, str], *, best_high: bool) -> float:
    best = (nlargest if best_high else nsmallest)(20, levels, key=float)
    return sum(float(levels[price]) for price in best)


@cache
def told(names: tuple[str, ...]) -> dict[int, Told]:
    """By epoch, from the lines alone."""
    lines = [line for path in captures(*names) for line in read(path)]
    quotes = sorted(
        (line.message["u"], *(float(line.message[key]) for key in ("b", "B", "a", "A")))
        for line in lines
        if line.channel == "bookTicker"
    )
    ids = np.array([quote[0] for quote in quotes])
    bids: dict[str, str] = {}
    asks: dict[str, str] = {}
    found: dict[int, Told] = {}
    last_id = synced = 0
    waiting: list[dict[str, Any]] = []
    diff: dict[str, Any] = {}
    bought = sold = 0.0
    epoch = lines[0].recv_ns // NS + 1

    def apply(message: dict[str, Any]) -> None:
        nonlocal last_id, diff
        for side, changes in ((bids, message["b"]), (asks, message["a"])):
            for price, quantity in changes:
                if float(quantity):
                    side[price] = quantity
                else:
                    side.pop(price, None)
        last_id, diff = message["u"], message

    for line in lines:
        while line.recv_ns >= epoch * NS:
            if synced and diff:
                at = int(np.searchsorted(ids, last_id, "right")) - 1
                more, less = top(bids, best_high=True), top(asks, best_high=False)
                sides = [sum(float(q) for _, q in diff[key][:20]) for key in ("b", "a")]
                of_diff = (sides[0] - sides[1]) / sum(sides) if sum(sides) else None
                found[epoch] = Told(
                    (more - less) / (more + less), of_diff, quotes[at][1:] if at >= 0 else None, bought, sold
                )
            bought = sold = 0.0
            epoch += 1
        message = line.message
        if line.channel is None:
            bids.update(message["bids"])
            asks.update(message["asks"])
            synced = message["lastUpdateId"]
            for one in waiting:
                if one["u"] > synced:
                    apply(one)
        elif line.channel == "depth" and not synced:
            waiting.append(message)
        elif line.channel == "depth" and message["u"] > synced:
            apply(message)
        elif line.channel == "trade" and message.get("X") in (None, "MARKET"):
            sold += float(message["q"]) * message["m"]
            bought += float(message["q"]) * (not message["m"])
    return found


@cache
def replayed(exchange: str, names: tuple[str, ...], folder: Path) -> dict[int, dict[str, Any]]:
    run("replay", *map(str, captures(*names)), "--exchange", exchange, "--features", "all", "--data-dir", str(folder))
    return stored(folder)


def stored(folder: Path) -> dict[int, dict[str, Any]]:
    from collector.core.features.catalog import REGISTRY
    from tests.stores import open_local

    store = open_local(folder)
    columns = ["epoch", "valid", "feature_set", *(one.name for one in REGISTRY)]
    return {
        row["epoch"]: row
        for rows in store.scan("features", store.markets()[0], None, None, columns)
        for row in rows.to_pylist()
    }


def run(*args: str) -> str:
    done = CliRunner().invoke(collector, list(args), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


KINDS = [("binanceusdm", FUTURES_FILES), ("binance", SPOT_FILES)]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {exchange: tmp_path_factory.mktemp(exchange) for exchange, _ in KINDS}


def compared(exchange: str, names: tuple[str, ...], stores: dict[str, Path]) -> list[tuple[dict[str, Any], Told]]:
    wanted, found = told(names), replayed(exchange, names, stores[exchange])
    pairs = [(found[epoch], one) for epoch, one in wanted.items() if epoch in found and found[epoch]["valid"]]
    assert len(pairs) > 0.95 * len(wanted) > 300
    return pairs


@pytest.mark.parametrize(("exchange", "names"), KINDS)
def test_imbalance_is_that_of_the_book(exchange: str, names: tuple[str, ...], stores: dict[str, Path]) -> None:
    pairs = compared(exchange, names, stores)
    ours = np.array([row["imbalance_20"] for row, _ in pairs])
    assert ours == pytest.approx([one.imbalance for _, one in pairs], abs=1e-12)
    known = [(row["imbalance_20"], one.of_diff) for row, one in pairs if one.of_diff is not None]
    of_diff = float(np.corrcoef(np.array(known).T)[0, 1])
    assert of_diff < 0.5  # what a collector gets that takes the levels of the last diff for the book


@pytest.mark.parametrize(("exchange", "names"), KINDS)
def test_spread_and_microprice_agree_with_the_best_quotes(
    exchange: str, names: tuple[str, ...], stores: dict[str, Path]
) -> None:
    pairs = [(row, one.quote) for row, one in compared(exchange, names, stores) if one.quote is not None]
    agree = {"spread_bps": 0, "microprice": 0, "mid": 0}
    for row, (bid, bid_quantity, ask, ask_quantity) in pairs:
        mid = (bid + ask) / 2
        wanted = {
            "mid": mid,
            "spread_bps": 1e4 * (ask - bid) / mid,
            "microprice": (ask * bid_quantity + bid * ask_quantity) / (ask_quantity + bid_quantity),
        }
        for name, value in wanted.items():
            agree[name] += row[name] == pytest.approx(value, rel=1e-9)
    share = {name: count / len(pairs) for name, count in agree.items()}
    # On spot the quantities of the best levels change without a message of their own.
    assert min(share.values()) > (0.999 if exchange == "binanceusdm" else 0.97), share


@pytest.mark.parametrize(("exchange", "names"), KINDS)
def test_volumes_are_those_of_the_trades(exchange: str, names: tuple[str, ...], stores: dict[str, Path]) -> None:
    pairs = [(row, one) for row, one in compared(exchange, names, stores) if row["volume_buy"] is not None]
    assert [row["volume_buy"] for row, _ in pairs] == pytest.approx([one.bought for _, one in pairs], abs=1e-9)
    assert [row["volume_sell"] for row, _ in pairs] == pytest.approx([one.sold for _, one in pairs], abs=1e-9)


@pytest.mark.parametrize(("exchange", "names"), KINDS)
def test_recompute_gives_the_same_bits(
    exchange: str, names: tuple[str, ...], stores: dict[str, Path], tmp_path: Path
) -> None:
    found = replayed(exchange, names, stores[exchange])
    first, last = min(found), max(found)
    store, span = ("--data-dir", str(stores[exchange])), ("--from", str(first), "--to", str(last + 1))
    told = json.loads(run("features", "recompute", *span, *store, "--json"))
    assert list(told["rows"].values()) == [len(found)]
    assert stored(stores[exchange]) == found
    picture = tmp_path / "features.png"
    run("features", "plot", *span, *store, "--out", str(picture))
    assert picture.stat().st_size > 20_000
