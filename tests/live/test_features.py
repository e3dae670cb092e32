"""Features of a run of two exchanges: in a replay and computed again from the store they are the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from collector.core.features.catalog import choose_features
from collector.features.recompute import recompute
from storage_backends.interface import Market
from tests.features.test_recompute import by_epoch
from tests.live.harness import Process, Simulator, collector, live
from tests.stores import differing, open_local, rows

FUTURES, SPOT = Market("binanceusdm", "BTCUSDT"), Market("binance", "BTCUSDT")


def test_live_is_replay_is_recompute(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1")
    streams = "depth,aggTrade,bookTicker,markPrice,forceOrder"
    process = live(
        simulator, tmp_path / "live", "--raw", "--features", "all", "--streams", streams,
        exchanges=("binanceusdm", "binance"),
    )  # fmt: skip
    processes.append(process)
    time.sleep(4)
    simulator.fault("disconnect")
    time.sleep(6)
    assert process.stop() == 0, process.output
    collector("replay", *sorted((tmp_path / "live" / "raw").glob("*/*.zst")), "--data-dir", tmp_path / "again")
    store = open_local(tmp_path / "live")
    for market in (FUTURES, SPOT):
        assert not differing(tmp_path / "live", tmp_path / "again", market)
        found = rows(store, "features", market)
        assert len(found) > 6
        assert {row["feature_set"].partition("@")[0] for row in found} == {"all"}
        again = by_epoch(list(recompute(store, market, choose_features("all"), 0, 2**62)))
        assert again == {
            row["epoch"]: {name: value for name, value in row.items() if value is not None} for row in found
        }
    futures = rows(store, "features", FUTURES)
    known = {name for row in futures for name, value in row.items() if value is not None}
    assert {"basis_bps", "premium_bps", "funding_rate_bps", "ofi", "imbalance_20", "cvd"} <= known
    assert not any(row["basis_bps"] is not None for row in rows(store, "features", SPOT))
