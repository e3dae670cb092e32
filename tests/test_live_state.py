from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from collector.core.latency import BOUNDS_MS
from collector.live_state import (
    FRESH_S,
    STATE_FILE,
    Histogram,
    MarketState,
    RestWeight,
    State,
    is_fresh,
    read_state,
    write_state,
)


def state(now_ns: int, **changes: object) -> State:
    """A state with one market and nothing special."""
    lag = Histogram([0] * len(BOUNDS_MS) + [1], 2.5)
    market = MarketState(
        exchange="binanceusdm",
        symbol="BTCUSDT",
        name="BTC/USDT",
        grade="ok",
        reasons=[],
        epoch=now_ns // 1_000_000_000,
        best_bid=90_538.46,
        best_ask=90_538.47,
        bid_buckets=[1.5, None],
        ask_buckets=[2.5, 3.5],
        step=0.00002,
        valid=True,
        connected=["depth"],
        down=[],
        open_gaps=[],
        gaps={"depth": {"disconnect": 2}},
        counts={"opened": 1},
        lag_p50_ms=1.0,
        lag_p95_ms=2.0,
        lag_p99_ms=3.0,
        lag=lag,
        book_lag=lag,
    )
    made = State(
        version="0",
        pid=1,
        started_ns=0,
        now_ns=now_ns,
        backend="local",
        stopping=False,
        frames=10,
        markets=[market],
        clock_offset_ms={"binanceusdm": 1.0},
        rest_weight={"binanceusdm": RestWeight(21, 2400, 0.0)},
        journal_bytes=1,
        journal_max_bytes=100,
        journal_lag=lag,
        backend_lag_s=0.5,
        backend_lag=lag,
        backend_away_since_ns=None,
        backend_error=None,
        delivered_rows=10,
        refused_rows=0,
        refusing=False,
        memory_bytes=1,
        descriptors=1,
        descriptor_limit=1024,
    )
    return msgspec.structs.replace(made, **changes)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    for now_ns in (10**18, 10**18 + 1):
        write_state(tmp_path, state(now_ns))
        assert read_state(tmp_path) == state(now_ns)
    assert [path.name for path in (tmp_path / "live").iterdir()] == ["state.json"]


def test_a_state_of_another_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "live").mkdir()
    (tmp_path / STATE_FILE).write_text('{"pid": "one"}')
    with pytest.raises(ValueError, match=r"state\.json: not a state that this version can read"):
        read_state(tmp_path)


def test_a_state_is_fresh_for_some_seconds_and_until_the_stop() -> None:
    now_ns = 10**18
    made = state(now_ns)
    assert is_fresh(made, now_ns + int(FRESH_S * 1e9))
    assert not is_fresh(made, now_ns + int(FRESH_S * 1e9) + 1)
    assert not is_fresh(msgspec.structs.replace(made, stopping=True), now_ns)
