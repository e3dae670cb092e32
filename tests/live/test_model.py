"""A model in a live run: a replay of its capture says the same, and says so where it has another model or none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.live.harness import Process, Simulator, collector, live
from tests.stores import differing, open_local, rows
from tests.training.served import REPLAY, exported, model_of, run


def test_live_is_replay_and_another_model_is_told_of(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    run("simulate", "--record", tmp_path / "past", "--record-s", 30, "--symbols", 1)
    run("replay", *(tmp_path / "past").glob("*.zst"), "--data-dir", tmp_path / "past", *REPLAY)
    data = exported(tmp_path / "past", tmp_path, "book", ("mid_price", "spread", "volume_imbalance"))
    model_of(data, tmp_path / "model.npz")
    model_of(data, tmp_path / "other.npz", horizons=(1,))
    simulator = simulate("--symbols", "1")
    options = ("--raw", "--book-grid", "100ms", "--book-depth", "5", "--model", str(tmp_path / "model.npz"))
    process = live(simulator, tmp_path / "live", *options)
    processes.append(process)
    time.sleep(4)
    simulator.fault("disconnect")
    time.sleep(4)
    if sys.platform == "linux":
        assert "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text()
    assert process.stop() == 0, process.output
    captures = sorted((tmp_path / "live" / "raw").glob("*/*.zst"))
    told = collector("replay", *captures, "--data-dir", tmp_path / "same", "--model", tmp_path / "model.npz")
    assert "captured with model" not in told.stderr
    (market,) = open_local(tmp_path / "live").markets("depth")
    assert not differing(tmp_path / "live", tmp_path / "same", market)
    found = rows(open_local(tmp_path / "live"), "forecasts", market)
    assert len(found) > 20
    gaps = [row for row in rows(open_local(tmp_path / "live"), "gaps", market) if row["stream"] == "depth"]
    assert gaps
    own = found[0]["model"]
    without = collector("replay", *captures, "--data-dir", tmp_path / "none")
    assert f"replayed with no model; captured with model {own}" in without.stderr
    assert not rows(open_local(tmp_path / "none"), "forecasts", market)
    other = collector("replay", *captures, "--data-dir", tmp_path / "other", "--model", tmp_path / "other.npz")
    assert f"captured with model {own}: forecasts are not those of the run" in other.stderr
