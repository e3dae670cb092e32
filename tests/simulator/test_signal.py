"""A made-up market tells of its next moves as much as it is asked to, and is otherwise what it always was."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from collector.core.inputs import SessionStarted
from collector.replay import Replay
from collector.simulator.instruments import simulated
from collector.simulator.model import MarketModel
from collector.simulator.names import SPOT, USDM
from collector.simulator.recording import START_MS, record
from collector.simulator.server import SimulatorConfig

STEPS_PER_S = 20


@pytest.mark.parametrize(("exchange", "digest"), [(SPOT, "f839aae36df7a28a"), (USDM, "a603424cbfdcfb63")])
def test_without_a_signal_a_seed_gives_what_it_gave_before_there_was_one(exchange, digest):
    model = MarketModel(simulated(exchange, 1)[0], 7, 500)
    found = hashlib.sha256()
    for _ in range(400):
        step = model.step(15.0, 2.0)
        found.update(repr((step.first_id, step.last_id, step.bids, step.asks, step.events)).encode())
    assert found.hexdigest()[:16] == digest


def explained(signal: float, seconds: int = 1500, horizon_s: int = 2) -> tuple[float, float]:
    """R² of the moves over the next `horizon_s` by the pressure, and by the imbalance of the 18 best ticks."""
    model = MarketModel(simulated(USDM, 1)[0], 1, 600, signal)
    mids, pressures, imbalances = [], [], []
    for _ in range(seconds):
        for _ in range(STEPS_PER_S):
            model.step(10.0, 0.25)
        mids.append((model.best_bid + model.best_ask) / 2)
        pressures.append(model.pressure)
        bid = sum(model.bids.get(model.best_bid - ticks, 0) for ticks in range(18))
        ask = sum(model.asks.get(model.best_ask + ticks, 0) for ticks in range(18))
        imbalances.append((bid - ask) / (bid + ask))
    moves = np.log(np.array(mids[horizon_s:]) / np.array(mids[:-horizon_s]))

    def r2(values: list[float]) -> float:
        return float(np.corrcoef(values[:-horizon_s], moves)[0, 1] ** 2) if np.ptp(values) else 0.0

    return r2(pressures), r2(imbalances)


def test_the_documented_amount_can_be_had_from_the_book_and_nothing_without_a_signal():
    assert explained(0.0)[0] == 0.0
    assert explained(0.0)[1] < 0.02
    pressure, imbalance = explained(0.5)
    assert 0.2 < pressure < 0.45
    assert 0.12 < imbalance < pressure
    assert explained(1.0)[0] > pressure


def test_a_recording_is_a_function_of_its_settings_and_replays_without_a_gap(tmp_path):
    config = SimulatorConfig(symbols=2, depth=600, signal=0.5)
    first = record(config, USDM, 30, tmp_path / "one")
    again = record(config, USDM, 30, tmp_path / "other")
    assert [path.name for path in first] == [path.name for path in again]
    assert [path.name.partition("_")[0] for path in first] == ["BTCUSDT", "ETHUSDT"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    tables: dict[tuple[str, str], int] = {}
    valid: list[bool] = []

    def emit(_venue, market, batches):
        for batch in batches:
            tables[market, batch.table] = tables.get((market, batch.table), 0) + batch.rows
            if batch.table == "depth":
                valid.extend(batch.columns["valid"])

    template = SessionStarted(exchange=USDM, symbol="", futures=True)
    Replay(template, (), emit).run(first, lambda progress: None)
    assert tables["BTCUSDT", "depth"] == 30
    assert tables["ETHUSDT", "diffs"] > 250
    assert tables["BTCUSDT", "trades"] > 50
    assert ("BTCUSDT", "gaps") not in tables
    assert sum(valid) >= 58
    assert START_MS == 1_767_225_600_000
