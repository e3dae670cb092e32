from __future__ import annotations

import os
import runpy
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
CAPTURES = Path(os.environ.get("CAPTURE_DIR", REPOSITORY / "../shared/data"))


@pytest.mark.skipif(not list(CAPTURES.glob("usdm_btcusdt_*.gz")), reason=f"no usdm_btcusdt_*.gz in {CAPTURES}")
def test_rows_of_the_captures_keep_their_budget() -> None:
    benchmark = runpy.run_path(str(REPOSITORY / "benchmarks/parquet_sizes.py"))
    tables = benchmark["load"](CAPTURES)
    levels = sum(len(tables["diffs"][side].combine_chunks().flatten()) for side in ("bid_price", "ask_price"))
    assert levels == 400_859
    assert len(tables["raw_trades"]) == 10_701
    assert benchmark["stored_bytes"]("diffs", tables["diffs"]) / levels <= 3.9
    assert benchmark["stored_bytes"]("raw_trades", tables["raw_trades"]) / 10_701 <= 5.5
