"""What answers look like: examples for the description of the interface (OpenAPI). A test compares them with answers.

Of rows with very many columns, and of the live state, an example shows some.
"""

from __future__ import annotations

from typing import Any, Final

from collector.serve.answers import ARROW

Responses = dict[int | str, dict[str, Any]]

_MARKET: Final = {"exchange": "binanceusdm", "symbol": "BTCUSDT"}
_EPOCH: Final = 1_795_628_607
_TIME_NS: Final = _EPOCH * 1_000_000_000

_CURSOR: Final = "WzE3OTU2Mjg2MDc2NDksMjg0NDQ5MDkzXQ"

_TRADE: Final = {
    "agg_trade_id": 284_449_093,
    "first_id": 568_898_096,
    "last_id": 568_898_096,
    "price": 90_002.3,
    "quantity": 0.026,
    "normal_quantity": 0.026,
    "is_buyer_maker": False,
    "timestamp": 1_795_628_607_649,
    "recv_ns": 1_795_628_607_653_445_996,
    "source": "ws",
}
_FEATURE: Final = {
    "epoch": _EPOCH,
    "feature_set": "basic@8aba25fe",
    "valid": True,
    "num_features": 15,
    "mid": 90_002.25,
    "spread_bps": 0.0111,
    "microprice": 90_002.28,
    "imbalance_1": 0.61,
    "ofi": 0.631,
    "cvd": 0.613,
}
_BAR: Final = {
    "open_time": 1_795_628_600_000,
    "interval_ms": 60_000,
    "interval": "1m",
    "open": 90_001.8,
    "high": 90_002.5,
    "low": 90_001.3,
    "close": 90_001.9,
    "volume": 1.031,
    "quote_volume": 92_791.8682,
    "buy_volume": 0.675,
    "sell_volume": 0.356,
    "delta": 0.319,
    "trades": 49,
    "empty": False,
}

HEALTH: Final = {"status": "running", "age_s": 0.412, "grade": "ok", "reasons": []}
SYMBOLS: Final = [_MARKET, {"exchange": "binance", "symbol": "ETHUSDT"}]
ANCHOR_RESET: Final = {"mode": "manual", "markets": [_MARKET]}
LATEST: Final = [{**_MARKET, **_FEATURE}]

_LIVE_MARKET: Final = {
    **_MARKET,
    "name": "BTC/USDT",
    "grade": "ok",
    "reasons": [],
    "epoch": _EPOCH,
    "best_bid": 90_002.2,
    "best_ask": 90_002.3,
    "bid_buckets": [138_242.16, 78_569.79, None],
    "ask_buckets": [147_335.14, 45_722.54, None],
    "step": 0.00002,
    "valid": True,
    "connected": ["depth", "trades", "book_ticker"],
    "down": [],
    "open_gaps": [],
    "gaps": {"depth": {"disconnect": 1}},
    "lag_p50_ms": 4.0,
    "lag_p99_ms": 25.1,
}
STATE: Final = {
    "version": "0.1.0",
    "started_ns": _TIME_NS - 3_600_000_000_000,
    "now_ns": _TIME_NS + 412_000_000,
    "backend": "local",
    "stopping": False,
    "frames": 71_062,
    "markets": [_LIVE_MARKET],
    "clock_offset_ms": {"binanceusdm": 0.667},
    "rest_weight": {"binanceusdm": {"used": 26, "limit": 2400, "pause_s": 0.0}},
    "journal_bytes": 3_145_728,
    "journal_max_bytes": 4_294_967_296,
    "backend_lag_s": 12.5,
    "memory_bytes": 98_566_144,
}
STREAM: Final = (
    'event: epoch\ndata: {"now_ns":1795628607412000000,"age_s":0.061,"stopping":false,"markets":['
    '{"exchange":"binanceusdm","symbol":"BTCUSDT","grade":"ok","epoch":1795628607,"best_bid":90002.2,"best_ask":90002.3,"valid":true}]}\n\n'
)
METRICS: Final = """\
# HELP collector_up 1 while a collector has written a state
# TYPE collector_up gauge
collector_up 1.0
# HELP collector_quality 0 ok, 1 degraded, 2 bad
# TYPE collector_quality gauge
collector_quality{exchange="binanceusdm",symbol="BTCUSDT"} 0.0
"""

TRADES: Final = {**_MARKET, "next_cursor": _CURSOR, "count": 1, "data": [_TRADE]}
HOT: Final = {**_MARKET, "count": 1, "data": [_TRADE]}
FEATURES: Final = {**_MARKET, "next_cursor": _CURSOR, "count": 1, "data": [_FEATURE]}
OHLCV: Final = {**_MARKET, "timeframe": "1m", "count": 1, "data": [_BAR]}
DEPTH: Final = {
    **_MARKET,
    "next_cursor": _CURSOR,
    "count": 1,
    "data": [
        {
            "epoch": _EPOCH,
            "best_bid": 90_002.2,
            "best_ask": 90_002.3,
            "price": 90_002.25,
            "bid_buckets": [138_242.16, 78_569.79, None],
            "ask_buckets": [147_335.14, 45_722.54, None],
            "step_pct": 0.00002,
            "num_steps": 3,
            "ref": "best",
            "bid_coverage": 0.7,
            "ask_coverage": 0.7,
            "last_update_id": 52_132_706_756,
            "event_time": 1_795_628_606_900,
            "recv_ns": 1_795_628_606_906_376_220,
            "book_age_ms": 93,
            "valid": True,
        }
    ],
}
ORDERBOOK: Final = {
    **_MARKET,
    "count": 1,
    "data": [
        {
            "epoch": _EPOCH,
            "tick": 10.0,
            "best_bid": 90_002.2,
            "best_ask": 90_002.3,
            "spread": 0.1,
            "spread_pct": 0.000111,
            "bid_price": [90_000.0, 89_990.0],
            "bid_quantity": [1.83, 2.51],
            "bid_cum_quantity": [1.83, 4.34],
            "bid_cum_notional": [164_702.2, 390_581.2],
            "ask_price": [90_010.0],
            "ask_quantity": [1.22],
            "ask_cum_quantity": [1.22],
            "ask_cum_notional": [109_807.1],
            "imbalance": 0.2,
            "depth_ratio": 1.5,
            "bid_coverage": 1.0,
            "ask_coverage": 1.0,
            "num_levels": 15,
            "ask_rounding": "ceil",
            "recv_ns": 1_795_628_606_906_376_220,
            "valid": True,
        }
    ],
}
BOOK: Final = {
    **_MARKET,
    "at_ns": _TIME_NS,
    "last_update_id": 52_132_702_124,
    "recv_ns": 1_795_628_606_902_355_208,
    "anchor_update_id": 52_132_598_344,
    "known_from": 89_381.0,
    "known_to": 90_637.0,
    "bids": [[90_001.9, 0.047], [90_001.8, 0.09]],
    "asks": [[90_002.0, 0.011], [90_002.1, 0.002]],
}
STATS: Final = [
    {
        **_MARKET,
        "table": "trades",
        "rows": 48_213,
        "files": 12,
        "bytes": 262_144,
        "first_key": 284_400_881,
        "last_key": 284_449_093,
        "first_ns": _TIME_NS - 3_600_000_000_000,
        "last_ns": 1_795_628_607_649_000_000,
    }
]
GAPS: Final = [
    {
        **_MARKET,
        "gap_id": "1795628001000000000-trades-disconnect-284440001",
        "revision": 2,
        "stream": "trades",
        "reason": "disconnect",
        "from_id": 284_440_001,
        "to_id": 284_440_024,
        "from_ns": 1_795_628_000_912_000_000,
        "to_ns": 1_795_628_002_101_000_000,
        "detected_ns": 1_795_628_001_000_000_000,
        "healed": True,
        "healed_by": "rest",
    }
]


def json(example: Any) -> Responses:
    """The description of an answer in JSON."""
    return {200: {"content": {"application/json": {"example": example}}}}


def rows(example: Any) -> Responses:
    """Of rows, which come as an Arrow stream where `Accept` asks for one."""
    return {200: {"content": {"application/json": {"example": example}, ARROW: {}}}}


def text(media_type: str, example: str) -> Responses:
    """Of text of that type."""
    return {200: {"content": {media_type: {"example": example}}}}
