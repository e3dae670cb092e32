"""A collector among several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from collector.shards import shard_of
from storage_backends.interface import Market
from tests.live.harness import Process, Simulator, collector, live
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


def test_widths_of_a_market_that_a_wildcard_does_not_bring_are_told_of_once_among_shards(
    simulate: Callable[..., Simulator],
) -> None:
    """A market of another shard is collected; one that is nowhere is named by the collector that would have it."""
    simulator = simulate("--symbols", "6")
    ticks = "BTCUSDT=10;ETHUSDT=1;NOPEUSDT=5"
    told = {}
    for index in range(2):
        done = collector(
            "run", "--url-root", simulator.url, "--dry-run", "--duration", "2", "--symbol", "*/USDT",
            "--tick-sizes", ticks, "--shard-count", "2", "--shard-index", str(index),
        )  # fmt: skip
        told[index] = [line for line in (done.stdout + done.stderr).splitlines() if "which is not collected" in line]
    ours = shard_of("binanceusdm", "NOPEUSDT", 2)
    assert len(told[ours]) == 1
    assert "--tick-sizes names NOPEUSDT" in told[ours][0]
    assert told[1 - ours] == []
