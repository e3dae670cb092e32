"""What was computed live, from the inputs, is computed again from the store: equal bits."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.core.batch import Batch
from collector.core.features.catalog import choose_features
from collector.core.inputs import AvwapAnchor, Closed, History, Kline
from collector.features.recompute import recompute
from storage_backends.interface import Market
from tests.core.exchange import SECOND, START_NS
from tests.core.script import ODD, Input, tables
from tests.features.sample import MARKET, collect, script, stored
from tests.stores import rows

FAULTS = sorted(set(ODD) - {"absurd", "anchor ahead"})
"""Without those that leave a book of the store in doubt: numbers that no 15 digits hold, and snapshots that lie."""

END_NS = START_NS + 10_000 * SECOND


def by_epoch(batches: list[Batch]) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for batch in batches:
        if batch.table == "features":
            for row in zip(*batch.columns.values(), strict=True):
                values = dict(zip(batch.columns, row, strict=True))
                assert not any(isinstance(value, float) and math.isnan(value) for value in values.values())
                found[values["epoch"]] = {name: value for name, value in values.items() if value is not None}
    return found


def again(folder: Path, live: list[Batch], names: str = "all", start_ns: int = START_NS) -> dict[int, dict[str, Any]]:
    store = stored(folder, live)
    return by_epoch(list(recompute(store, MARKET, choose_features(names), start_ns, END_NS)))


@pytest.mark.parametrize("cut", [None, 40, 90])
@pytest.mark.parametrize("seed", range(5))
def test_recomputed_is_live(seed: int, cut: int | None, tmp_path: Path) -> None:
    """Through drops, repetitions, disconnects, bad numbers, stalls and a restart."""
    live = collect(script(seed, futures=seed % 2 == 0, faults=FAULTS), "all", futures=seed % 2 == 0, cut=cut)
    assert again(tmp_path, live) == by_epoch(live)


@pytest.mark.parametrize("away_ns", [0, 3 * SECOND])
def test_recomputed_is_live_where_a_connection_was_lost_before_its_first_message(away_ns: int, tmp_path: Path) -> None:
    first, *others = script(2, futures=True)
    names = ["depth", "trades"]
    lost = [Input(first.recv_ns + 5, Closed(1, names, "disconnect")), Input(first.recv_ns + 5 + away_ns, first.what)]
    inputs = [first, *lost, *(Input(one.recv_ns + 5 + away_ns, one.what) for one in others)]
    live = collect(inputs, "all", futures=True)
    assert [row["reason"] for row in tables(live)["gaps"]] == ["disconnect"] * 4
    assert again(tmp_path, live) == by_epoch(live)


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 10**9), st.booleans())
def test_live_does_not_depend_on_drains(seed: int, futures: bool) -> None:
    inputs = script(seed, futures=futures, faults=ODD)
    once, often = (by_epoch(collect(inputs, "all", futures=futures, drains=drains)) for drains in (None, seed))
    assert once == often


@pytest.mark.parametrize("seed", range(4))
def test_nothing_that_comes_later_changes_an_epoch(seed: int) -> None:
    inputs = script(seed, futures=True)
    whole = by_epoch(collect(inputs, "all", futures=True))
    at = random.Random(seed).randrange(60, len(inputs) - 20)
    until = inputs[at].recv_ns // SECOND
    other = [
        Input(one.recv_ns, one.what) for one in script(seed + 100, futures=True) if one.recv_ns > inputs[at].recv_ns
    ]
    changed = by_epoch(collect([*inputs[:at], *other], "all", futures=True))
    assert {epoch: row for epoch, row in changed.items() if epoch <= until} == {
        epoch: row for epoch, row in whole.items() if epoch <= until
    }
    assert len([epoch for epoch in whole if epoch <= until]) > 2


def test_a_part_of_the_range_gives_the_same_rows(tmp_path: Path) -> None:
    live = collect(script(3, futures=True), "all", futures=True)
    found = again(tmp_path, live, start_ns=START_NS + 10 * SECOND)
    wanted = by_epoch(live)
    assert found
    assert found == {epoch: row for epoch, row in wanted.items() if epoch >= START_NS // SECOND + 10}


def test_history_and_anchors_are_found_in_the_store(tmp_path: Path) -> None:
    inputs = script(5, futures=True)
    at = len(inputs) // 3
    now_ns = inputs[at].recv_ns
    first_ms = (START_NS // SECOND // 60 - 299) * 60_000
    klines = [Kline(first_ms + n * 60_000, 100.0, 101.0, 99.0, 100.5, 5.0, 500.0, 2.0, 200.0, 7) for n in range(300)]
    inputs[at:at] = [Input(now_ns, AvwapAnchor("manual")), Input(now_ns, History("1m", klines))]
    inputs += [Input(inputs[-2].recv_ns + n * SECOND, inputs[-2].what) for n in range(1, 100)]
    live = collect(inputs, "all", futures=True)
    wanted = by_epoch(live)
    assert any("avwap" in row for row in wanted.values())
    assert again(tmp_path, live) == wanted
    store = stored(tmp_path, live)
    assert len(rows(store, "klines", MARKET)) == 300


def test_writing_it_twice_changes_nothing_and_a_larger_set_counts(tmp_path: Path) -> None:
    live = collect(script(3, futures=True), "mid", futures=True)
    store = stored(tmp_path, live)
    small = rows(store, "features", MARKET)
    batches = list(recompute(store, MARKET, choose_features("all"), START_NS, END_NS))
    for _ in range(2):
        stored(tmp_path, batches)
    found = rows(store, "features", MARKET)
    assert [row["epoch"] for row in found] == [row["epoch"] for row in small]
    assert {row["num_features"] for row in found if row["valid"]} == {len(choose_features("all").features)}
    assert [row["mid"] for row in found] == [row["mid"] for row in small]


def test_a_basis_is_found_where_spot_is_stored_too(tmp_path: Path) -> None:
    live = collect(script(3, futures=True), "none", futures=True)
    store = stored(tmp_path, live)
    alone = by_epoch(list(recompute(store, MARKET, choose_features("basis_bps"), START_NS, END_NS)))
    assert not any("basis_bps" in row for row in alone.values())
    stored(tmp_path, live, Market("binance", "BTCUSDT"))
    found = by_epoch(list(recompute(store, MARKET, choose_features("basis_bps"), START_NS, END_NS)))
    values = [row["basis_bps"] for row in found.values() if "basis_bps" in row]
    assert values
    assert set(values) == {0.0}


def test_nothing_stored_gives_nothing(tmp_path: Path) -> None:
    live = collect(script(3, futures=True), "none", futures=True)
    store = stored(tmp_path, live)
    assert not list(recompute(store, MARKET, choose_features("all"), 0, START_NS))
    assert not list(recompute(store, Market("binance", "X"), choose_features("all"), 0, END_NS))
