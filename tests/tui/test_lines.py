from __future__ import annotations

import msgspec
import pytest

from collector.tui import lines
from tests.test_live_state import state

NOW_NS = 10**18


def test_the_headline_tells_what_matters_first() -> None:
    made = state(NOW_NS, started_ns=NOW_NS - 90_061 * 10**9)
    now_s = NOW_NS / 1e9
    plain = lines.headline(made, None, now_s, paused=False).plain
    assert plain.startswith("up 1d1h  10 frames  journal 1 B")
    assert lines.headline(made, None, now_s + 60, paused=False).plain.startswith("STALE, 60 s old")
    assert lines.headline(made, None, now_s, paused=True).plain.startswith("PAUSED")
    away = msgspec.structs.replace(made, backend_away_since_ns=NOW_NS - 5 * 10**9, refusing=True)
    assert "backend away 5s  REFUSING ROWS" in lines.headline(away, None, now_s, paused=False).plain
    assert lines.headline(None, None, now_s, paused=False).plain == "no collector has run here yet"
    assert lines.headline(None, "refused", now_s, paused=False).plain == "refused"
    stopped = msgspec.structs.replace(made, stopping=True)
    assert lines.headline(stopped, None, now_s + 60, paused=False).plain.startswith("STOPPED")


def test_depth_bars_group_buckets_and_say_what_is_not_known() -> None:
    (market,) = state(NOW_NS).markets
    market = msgspec.structs.replace(market, bid_buckets=[1e6, 1e6, 2e6, None], ask_buckets=[4e6, 0.0, 1e6, 1e6])
    head, *shown = lines.depth_bars(market, 2, 40).plain.split("\n")
    assert head == "depth in USDT, by distance from the best price"
    assert [line[:12] for line in shown] == ["ask   0.8 bp", "ask   0.4 bp", "bid   0.4 bp", "bid   0.8 bp"]
    assert shown[0].endswith("2.0M")
    assert shown[1].endswith("4.0M")
    assert shown[2].endswith("2.0M")
    assert "beyond the known book" in shown[3]
    assert shown[1].count("█") == 2 * shown[0].count("█") + 1  # 19 against 9 and a half
    assert all(len(line) <= 40 for line in shown)


def test_a_market_without_a_book_shows_none() -> None:
    (market,) = state(NOW_NS).markets
    empty = msgspec.structs.replace(market, best_bid=None, best_ask=None, bid_buckets=None, ask_buckets=None)
    assert lines.title(empty).plain.endswith("no book")
    assert lines.depth_bars(empty, 5, 40).plain == ""
    assert lines.market_cells(empty)[1].plain == "-"


def test_quality_names_reasons_streams_and_counts() -> None:
    (market,) = state(NOW_NS).markets
    counts = {"quarantine": 2, "trades duplicates": 3, "diffs duplicates": 4}
    bad = msgspec.structs.replace(
        market, grade="bad", reasons=["depth_down"], down=["depth"], open_gaps=["trades"], counts=counts
    )
    assert lines.quality(bad).plain.split("\n") == [
        "bad: depth_down",
        "down: depth",
        "gap in: trades",
        "lag p50 1  p95 2  p99 3 ms",
        "2 in quarantine, 7 duplicates",
    ]


def test_values_side_by_side() -> None:
    row = {"mid": 1.5, "cvd": None, "spread_bps": 0.25}
    first, second = lines.values(row, ["mid", "cvd", "spread_bps", "ofi"], 2, 40).plain.split("\n")
    assert first.split() == ["mid", "1.5", "cvd", "-"]
    assert second.split() == ["spread_bps", "0.25", "ofi", "-"]
    assert lines.values(None, ["mid"], 2, 30).plain == "none stored"


@pytest.mark.parametrize(("share", "width", "shown"), [(0, 4, ""), (1, 4, "████"), (0.5, 4, "██"), (2, 2, "██")])
def test_bars(share: float, width: int, shown: str) -> None:
    assert lines.bar(share, width) == shown
    assert len(lines.bar(0.03, 4)) == 1


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0s"), (59, "59s"), (61, "1m1s"), (3_660, "1h1m"), (90_000, "1d1h"), (-5, "0s")]
)
def test_durations(seconds: float, shown: str) -> None:
    assert lines.duration(seconds) == shown


def test_features_with_a_value_are_shown_and_long_names_keep_their_ends() -> None:
    row = {"symbol": "BTCUSDT", "epoch": 1, "basis_bps": None, "mid": 1.0, "avwap": None, "cvd": 2.0}
    assert lines.feature_names(row) == ["mid", "cvd"]
    assert lines.feature_names(None) == []
    assert lines.shortened("imbalance_1_change_10s", 16) == "imbalance_1…_10s"
    assert lines.shortened("mid", 16) == "mid"
