"""The basis, whatever the order in which markets are drained."""

from __future__ import annotations

import itertools

import pytest

from collector.core.batch import Batch
from collector.core.features.across import Across, Quoted, across, basis_bps

FUTURE, SPOT = ("binanceusdm", "BTCUSDT"), ("binance", "BTCUSDT")


def depth(epochs, mid: float, age_ms: int = 100, valid: bool = True) -> Batch:
    count = len(epochs)
    columns = {"epoch": list(epochs), "price": [mid + epoch for epoch in epochs]}
    return Batch("depth", columns | {"book_age_ms": [age_ms] * count, "valid": [valid] * count})


def features(epochs) -> Batch:
    return Batch("features", {"epoch": list(epochs), "feature_set": ["x"] * len(epochs)})


def joined(*markets: tuple[str, str]) -> Across:
    stage = Across()
    for market in markets:
        stage.join(market)
    return stage


def test_by_hand() -> None:
    assert basis_bps(Quoted(100.5, 10, True), Quoted(100.0, 10, True)) == pytest.approx(50.0)


@pytest.mark.parametrize("bad", [None, Quoted(None, 1, True), Quoted(1.0, 1001, True), Quoted(1.0, None, True)])
def test_one_that_is_not_known_makes_it_null(bad: Quoted | None) -> None:
    good = Quoted(100.0, 1000, True)
    assert basis_bps(good, bad) is None
    assert basis_bps(bad, good) is None
    assert basis_bps(good, Quoted(100.0, 1, False)) is None


@pytest.mark.parametrize("cuts", list(itertools.product([1, 2, 5], [1, 3, 6])))
def test_rows_do_not_depend_on_the_rhythm(cuts: tuple[int, int]) -> None:
    stage = joined(FUTURE, SPOT)
    given = []
    at = {FUTURE: 0, SPOT: 0}
    while min(at.values()) < 30:
        for market, step, mid in ((FUTURE, cuts[0], 101.0), (SPOT, cuts[1], 100.0)):
            epochs = range(at[market], min(30, at[market] + step))
            at[market] = epochs.stop
            if epochs:
                given += stage.take(market, [depth(epochs, mid), *([features(epochs)] if market == FUTURE else [])])
    given += stage.settle()
    rows = [
        pair
        for market, batch in given
        if batch.table == "features"
        for pair in zip(batch.columns["epoch"], batch.columns["basis_bps"], strict=True)
    ]
    assert rows == [(epoch, pytest.approx(1e4 / (100 + epoch))) for epoch in range(30)]
    assert sum(batch.rows for _, batch in given if batch.table == "depth") == 60


def test_a_market_alone_has_none() -> None:
    stage = joined(FUTURE)
    assert stage.take(FUTURE, [features([1])]) == [(FUTURE, features([1]))]


def test_spot_that_is_silent_does_not_hold_rows_back_for_ever() -> None:
    stage = joined(FUTURE, SPOT)
    assert [batch.table for _, batch in stage.take(FUTURE, [depth([1], 1.0), features([1])])] == ["depth"]
    ((market, batch),) = stage.settle()
    assert (market, batch.columns["basis_bps"]) == (FUTURE, [None])


def test_rows_do_not_wait_for_a_spot_market_that_is_silent_for_minutes() -> None:
    stage = joined(FUTURE, SPOT)
    stage.take(SPOT, [depth([1], 100.0)])
    given = []
    for epoch in range(1, 300):
        given += stage.take(FUTURE, [depth([epoch], 101.0), features([epoch])])
    rows = [batch for _, batch in given if batch.table == "features"]
    assert [batch.columns["epoch"] for batch in rows] == [[epoch] for epoch in range(1, 180)]
    assert [batch.columns["basis_bps"] for batch in rows[:2]] == [[pytest.approx(1e4 / 101)], [None]]


def test_which_choices_need_it() -> None:
    assert [across(text) for text in ("none", "mid", "basic", "all", "mid,basis_bps")] == [
        False,
        False,
        True,
        True,
        True,
    ]
