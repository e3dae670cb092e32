"""A collector among several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from collector.shards import shard_of
from storage_backends.interface import Market
from tests.live.harness import Process, Simulator, live
from tests.stores import open_local


def test_of_two_exchanges_the_one_with_a_market_is_collected(
    simulate: Callable[..., Simulator], processes: list[Process], tmp_path: Path
) -> None:
    simulator = simulate("--symbols", "1")
    index, other = (shard_of(exchange, "BTCUSDT", 2) for exchange in ("binance", "binanceusdm"))
    assert index != other
    shard = ("--shard-count", "2", "--shard-index", str(index))
    process = live(simulator, tmp_path, *shard, "--duration", "4", exchanges=("binance", "binanceusdm"))
    processes.append(process)
    assert process.wait(30) == 0, process.output
    assert "none of 1 markets of binanceusdm" in process.output
    assert open_local(tmp_path).markets("diffs") == [Market("binance", "BTCUSDT")]
