"""What is refused becomes one range a stream, in ids and in time."""

from __future__ import annotations

from collector.core.batch import Batch
from collector.refusals import Refusals
from storage_backends.interface import Market

MARKET = Market("binanceusdm", "BTCUSDT")
S = 10**9


def test_ranges_grow_and_cover_the_epochs_that_are_missing() -> None:
    refusals = Refusals()
    refusals.add([(MARKET, Batch("depth", {"epoch": [101, 102]}))], "disk full")
    diffs = Batch(
        "diffs", {"last_id": [20, 30], "prev_id": [9, 20], "first_id": [15, 25], "recv_ns": [100 * S, 101 * S]}
    )
    refusals.add([(MARKET, diffs), (MARKET, Batch("trades", {"agg_trade_id": [5], "recv_ns": [7]}))], "disk full")
    refusals.add([(MARKET, Batch("trades", {"agg_trade_id": [6, 7], "recv_ns": [8, 9]}))], "disk full")
    refusals.add([(MARKET, Batch("snapshots", {"recv_ns": [1]}))], "disk full")
    assert refusals
    found = {refused.stream: refused for _, refused in refusals.take()}
    assert not refusals
    assert found.keys() == {"depth", "trades"}
    depth, trades = found["depth"], found["trades"]
    assert (depth.from_id, depth.to_id, depth.from_ns, depth.to_ns) == (10, 30, 100 * S, 102 * S)
    assert (trades.from_id, trades.to_id, trades.from_ns, trades.to_ns) == (5, 7, 7, 9)


def test_epochs_alone_are_a_gap_in_time() -> None:
    refusals = Refusals()
    refusals.add([(MARKET, Batch("depth", {"epoch": [5]}))], "journal full")
    ((market, refused),) = refusals.take()
    assert market == MARKET
    assert (refused.from_id, refused.to_id, refused.from_ns, refused.to_ns) == (None, None, 5 * S, 5 * S)
