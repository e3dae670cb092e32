"""What a model is told of, and when it may speak."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from collector.core.batch import Batch
from collector.core.market import Market
from tests.core.exchange import SECOND, START_NS
from tests.core.script import FAULTS, Script, hand, session, tables

MS = 10**6
FIELD = 4
PRICE = {"depth": "price", "books": "mid_price", "features": "mid"}
PERIOD_NS = {"depth": SECOND, "books": 100 * MS, "features": SECOND}
TIME_NS = {"depth": ("epoch", SECOND), "books": ("timestamp", MS), "features": ("epoch", SECOND)}


class Counting:
    """A stand-in: speaks once it has seen `FIELD` rows in a row, and forecasts the price of the row itself."""

    horizons_ms = (100.0, 500.0)
    fingerprint = "0123456789abcdef"

    def __init__(self, table: str) -> None:
        self.table = table
        self.targets = (PRICE[table],)
        self.needed: Mapping[str, tuple[str, int | None]] = {PRICE[table]: (PRICE[table], None)}
        if table == "books":
            self.needed = {**self.needed, "bid_price_0": ("bid_price", 0), "bid_price_99": ("bid_price", 99)}
        if table == "depth":
            self.needed = {**self.needed, "bid_buckets_1": ("bid_buckets", 1)}
        self.rows: list[tuple[int, dict[str, Any]]] = []
        self._seen = 0
        self._last_ns = 0

    def step(self, row: Mapping[str, float | None], time_ns: int) -> Any:
        self.rows.append((time_ns, dict(row)))
        self._seen = self._seen + 1 if time_ns - self._last_ns == PERIOD_NS[self.table] else 1
        self._last_ns = time_ns
        if self._seen < FIELD:
            return None
        price = row[self.targets[0]]
        return [(np.array([1.0, self._seen]), np.array([price, price]))]

    def reset(self) -> None:
        self._last_ns = 0


def ran(
    seed: int, table: str, *, drain_every: int = 0, kind: type[Counting] = Counting
) -> tuple[dict[str, list[dict[str, Any]]], Counting]:
    start = replace(session(futures=True), book_grid_ms=100, book_depth=5, features="mid,spread_bps")
    market, model = Market(START_NS, start), kind(table)
    market.use_model(model)
    batches: list[Batch] = []
    for number, one in enumerate(Script(seed, futures=True, faults=FAULTS).inputs):
        hand(market, one)
        if drain_every and not number % drain_every:
            batches += market.drain()
    forecasts = [
        batch for batch in (*batches, *market.drain()) if batch.table in ("forecasts", table, "gaps", "events")
    ]
    return tables(forecasts), model


@pytest.mark.parametrize("table", PRICE)
@pytest.mark.parametrize("seed", range(6))
def test_it_speaks_after_enough_sound_rows_and_never_across_a_gap(seed: int, table: str) -> None:
    found, model = ran(seed, table)
    column, unit = TIME_NS[table]
    stored = {row[column] * unit: row for row in found[table]}
    for time_ns, row in model.rows:  # what it is told is what is stored
        assert stored[time_ns]["valid"]
        assert row[PRICE[table]] == stored[time_ns][PRICE[table]]
        if table == "books":
            assert row["bid_price_0"] == float(stored[time_ns]["bid_price"][0])
            assert row["bid_price_99"] is None
        if table == "depth":
            assert row["bid_buckets_1"] == pytest.approx(float(stored[time_ns]["bid_buckets"][1]), nan_ok=True)
    period_ns = PERIOD_NS[table]
    spoken = [row["timestamp"] * MS for row in found.get("forecasts", [])]
    streams = {"depth"} if table != "features" else {"depth", "trades"}
    told: dict[str, dict[str, Any]] = {}
    for gap in found.get("gaps", []):
        told[gap["gap_id"]] = gap
    for time_ns in spoken:
        seen = [time_ns - back * period_ns for back in range(FIELD)]
        assert all(stored[one]["valid"] for one in seen)
        for gap in told.values():
            # A gap that was known when the rows were made touches none of them. One that turned out later, or to be
            # none, cannot have been known.
            if gap["stream"] in streams and not gap["healed"] and seen[-1] - period_ns < gap["detected_ns"] < time_ns:
                pytest.fail(f"{time_ns} knows rows of both sides of {gap}")
    assert len(set(spoken)) == len(spoken)
    assert all(
        row["target"] == PRICE[table] and [float(one) for one in row["horizon_ms"]] == [100.0, 500.0]
        for row in found.get("forecasts", [])
    )
    # And it does speak wherever that many rows in a row were told of.
    times = [time_ns for time_ns, _ in model.rows]
    runs = sum(1 for one, after in pairwise(times) if after - one == period_ns)
    assert runs < 3 * FIELD or spoken
    assert any(one["kind"] == "model" and model.fingerprint in one["detail"] for one in found["events"])


@pytest.mark.parametrize("table", PRICE)
def test_when_it_is_drained_changes_nothing(table: str) -> None:
    once, often = ran(2, table)[0], ran(2, table, drain_every=3)[0]
    assert once["forecasts"]
    assert repr(once["forecasts"]) == repr(often["forecasts"])


class Failing(Counting):
    def step(self, row: Mapping[str, float | None], time_ns: int) -> Any:
        if len(self.rows) == 10:
            raise ValueError("a fault")
        return super().step(row, time_ns)


class Overflowing(Counting):
    def step(self, row: Mapping[str, float | None], time_ns: int) -> Any:
        made = super().step(row, time_ns)
        return made if made is None or len(self.rows) % 2 else [(np.array([1.0, 2.0]), np.array([1.0, np.inf]))]


def test_a_fault_of_the_model_costs_forecasts_and_nothing_else() -> None:
    good, (found, model) = ran(2, "books"), ran(2, "books", kind=Failing)
    assert found["books"] == good[0]["books"]
    assert len(model.rows) == 10
    assert [one["detail"] for one in found["events"] if one["kind"] == "model_failed"] == ["ValueError('a fault')"]


def test_a_forecast_that_is_not_finite_is_none() -> None:
    found, model = ran(2, "books", kind=Overflowing)
    odd = {time_ns // MS for at, (time_ns, _) in enumerate(model.rows, 1) if at % 2}
    assert found["forecasts"]
    assert {row["timestamp"] for row in found["forecasts"]} <= odd
