"""What holds for every feature: warm-up, gaps, no look-ahead, bounded memory, streams that are not collected."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest

from collector.core.features.catalog import REGISTRY, choose_features
from collector.core.features.engine import FeatureEngine
from collector.core.features.registry import Feature, FeatureSet, Registry, choose
from collector.core.features.workspace import INPUTS, Signal
from collector.core.flow import EpochFlow
from tests.core.features.world import BASE, STREAMS, World, engine, flow

OF_INPUT = {"book": "depth", "trades": "trades", "quotes": "book_ticker", "mark": "mark_price"} | {
    "liquidations": "liquidations"
}
ALONE = [one for one in REGISTRY if not one.across]
SHORT_S, COUNT = 1300, 1700
GAP = 1400
LONG = {10: 1000, 60: 2000}
"""Epochs by their length in seconds, for what takes hours to be warm."""

Row = dict[str, float | None]


def run(flows: list[EpochFlow], interval_s: int = 1) -> list[Row]:
    made = engine(interval_s=interval_s)
    rows = [dict(zip(made.names, made.values(one), strict=True)) for one in flows]
    assert made.failure is None, made.failure
    return rows


@cache
def whole(interval_s: int = 1) -> tuple[list[EpochFlow], list[Row]]:
    flows = World(7, interval_s).flows(LONG.get(interval_s, COUNT))
    return flows, run(flows, interval_s)


def gapped(one: EpochFlow, *inputs: str) -> EpochFlow:
    streams = frozenset(OF_INPUT[name] for name in inputs)
    return replace(one, in_gap=streams, valid=one.valid and "book" not in inputs)


def first_known(rows: list[Row], name: str) -> int | None:
    return next((number for number, row in enumerate(rows, 1) if row[name] is not None), None)


@pytest.mark.parametrize("one", ALONE, ids=lambda one: one.name)
def test_null_until_warm(one: Feature) -> None:
    if one.warmup_s < SHORT_S:
        assert first_known(whole()[1], one.name) == one.warmup_s
        return
    intervals = [interval for interval, count in LONG.items() if one.warmup_s <= interval * count]
    known = [(interval, first_known(whole(interval)[1], one.name)) for interval in intervals]
    assert any(
        number is not None and 0.6 * one.warmup_s <= number * interval <= one.warmup_s + 2 * interval
        for interval, number in known
    ), known


def test_everything_is_finite_and_moves() -> None:
    for one in ALONE:
        values = [row[one.name] for interval in (1, 10, 60) for row in whole(interval)[1]]
        known = [value for value in values if value is not None]
        assert all(math.isfinite(value) for value in known), one.name
        still = {"cvd_anchor", "funding_rate_bps", "kyle_n", "absorption", "supertrend_direction"}
        assert len(set(known)) > 5 or one.name in still, one.name


def test_after_a_gap_everything_begins_anew() -> None:
    flows, before = whole()
    rows = run([*flows[:GAP], gapped(flows[GAP], *INPUTS), *flows[GAP + 1 :]])
    assert rows[:GAP] == before[:GAP]
    assert set(rows[GAP].values()) == {None}
    assert rows[GAP + 1 :] == run(flows[GAP + 1 :])


@pytest.mark.parametrize("lost", INPUTS)
def test_a_gap_touches_what_depends_on_it_and_nothing_else(lost: str) -> None:
    flows, before = whole()
    rows = run([*flows[:GAP], gapped(flows[GAP], lost), *flows[GAP + 1 : GAP + 100]])
    for one in ALONE:
        if lost in one.inputs:
            assert rows[GAP][one.name] is None, one.name
            if one.inputs == {lost} and one.warmup_s > 1:
                assert rows[GAP + 1][one.name] is None, one.name
        else:
            assert [row[one.name] for row in rows] == [row[one.name] for row in before[: len(rows)]], one.name


def test_the_future_changes_nothing_before_it() -> None:
    flows, before = whole()
    for at in (100, 901, 1250):
        other = World(99).flows(at + 30)[at:]
        rows = run([*flows[:at], *other])
        assert rows[:at] == before[:at]
        assert rows[at:] != before[at : at + 30]


def test_an_epoch_without_a_book_is_a_gap_of_the_book() -> None:
    flows, _ = whole()
    made = engine(["mid", "cvd"])
    for one in flows[:5]:
        made.values(one)
    assert made.values(replace(flows[5], book=None, valid=False))[0] is None
    stale = made.values(replace(flows[6], valid=False))
    assert stale[0] is None
    assert stale[1] is not None


@pytest.mark.parametrize("one", [one for one in ALONE if one.memory_s and one.memory_s < GAP], ids=lambda one: one.name)
def test_memory_is_what_it_says(one: Feature) -> None:
    flows, rows = whole()
    assert one.memory_s is not None
    for at in (GAP, GAP + 17):
        made = engine([one.name])
        values = [made.values(each)[0] for each in flows[at + 1 - one.memory_s : at + 1]]
        assert values[-1] == rows[at][one.name]


@pytest.mark.parametrize("missing", STREAMS)
def test_what_is_not_collected_is_null_and_not_zero(missing: str) -> None:
    made = engine(streams=[name for name in STREAMS if name != missing])
    (name,) = [name for name, stream in OF_INPUT.items() if stream == missing]
    assert set(made.idle) == {one.name for one in REGISTRY if one.across or name in one.inputs}
    for one in whole()[0][:3]:
        (batch,) = made.take(one)
        assert not set(made.idle) & set(batch.columns)


def test_single_trades_serve_where_aggregates_are_not_collected() -> None:
    made = engine(["cvd"], streams=["raw_trades"])
    flows, _ = whole()
    assert made.values(flows[0]) != [None]
    assert made.values(replace(flows[1], in_gap=frozenset({"raw_trades"}))) == [None]
    assert made.values(replace(flows[2], in_gap=frozenset({"trades"}))) != [None]


def test_a_row_names_its_set_and_version() -> None:
    made = engine(["mid", "cvd"])
    (batch,) = made.take(whole()[0][0])
    label = choose(REGISTRY, ["mid", "cvd"]).label
    assert batch.table == "features"
    assert list(batch.columns) == ["epoch", "feature_set", "valid", "num_features", "mid", "cvd"]
    assert batch.columns["feature_set"] == [label]
    assert label.startswith("custom@")


def test_a_label_changes_with_a_version() -> None:
    chosen = choose_features("basic")
    changed = FeatureSet("basic", (replace(chosen.features[0], version=2), *chosen.features[1:]))
    assert chosen.label != changed.label
    assert chosen.label == choose_features("basic").label


def test_sets() -> None:
    assert choose_features("none").features == ()
    assert [one.name for one in choose_features("all").features] == [one.name for one in REGISTRY]
    assert [one.name for one in choose_features("cvd, mid").features] == ["mid", "cvd"]
    assert 5 < len(choose_features("basic").features) < 25
    with pytest.raises(KeyError, match="nonsense"):
        choose_features("mid,nonsense")


def test_every_feature_says_what_it_is() -> None:
    for one in REGISTRY:
        assert one.unit, one.name
        assert one.doc, one.name
        assert one.source, one.name
        assert one.warmup_s >= 1, one.name
        assert one.across or one.inputs, one.name


def test_a_name_is_taken_once() -> None:
    registry = Registry()
    registry.add(REGISTRY["mid"])
    with pytest.raises(ValueError, match="twice"):
        registry.add(REGISTRY["mid"])


class _Fails(Signal):
    def update(self, flow: EpochFlow) -> None:
        if flow.epoch > BASE + 10:
            raise ZeroDivisionError("of a feature")


def test_a_fault_in_a_feature_costs_values_and_no_rows() -> None:
    broken = Feature(
        name="broken",
        unit="-",
        doc="-",
        source="-",
        warmup_s=1,
        memory_s=1,
        open=lambda workspace: (workspace.signal(_Fails), lambda: 1.0)[1],
    )
    made = FeatureEngine(FeatureSet("broken", (REGISTRY["mid"], broken)), 1, STREAMS)
    flows, _ = whole()
    assert None not in made.values(flows[0])
    rows = [made.values(one) for one in flows[1:20]]
    assert rows[-1] == [None, None]
    assert made.failure is not None
    assert "ZeroDivisionError" in made.failure


def test_a_feature_may_be_built_from_a_file(tmp_path) -> None:
    """As a model is: read once, its state made anew in each market."""
    path = tmp_path / "weights"
    path.write_text("0.5 2")
    weights = [float(one) for one in path.read_text().split()]

    class Model(Signal):
        inputs = frozenset({"trades"})

        def start(self) -> None:
            self.sizes: list[float] = []

        def update(self, flow: EpochFlow) -> None:
            self.sizes = [*self.sizes, float(flow.trades.quantity.sum())][-2:]

    def opened(workspace):
        state = workspace.signal(Model)
        return lambda: sum(w * x for w, x in zip(weights, state.sizes, strict=True)) if len(state.sizes) == 2 else None

    one = Feature(name="model", unit="-", doc="-", source=str(path), warmup_s=2, memory_s=2, open=opened)
    made = FeatureEngine(FeatureSet("model", (one,)), 1, STREAMS)
    flows, _ = whole()
    sizes = [float(each.trades.quantity.sum()) for each in flows[:3]]
    values = [made.values(each) for each in flows[:3]]
    assert values == [[None], [0.5 * sizes[0] + 2 * sizes[1]], [0.5 * sizes[1] + 2 * sizes[2]]]


def test_an_empty_epoch_is_no_gap() -> None:
    made = engine(["cvd", "trade_age_s"])
    flows, _ = whole()
    made.values(flows[0])
    before = made.values(flow(flows[0].epoch + 1))
    after = made.values(flow(flows[0].epoch + 2))
    assert before[0] == after[0] is not None
    assert after[1] == pytest.approx(before[1] + 1)
