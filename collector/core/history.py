"""Klines that features start from: their lengths, and their rows in table `klines`."""

from __future__ import annotations

from collector.core.batch import Batch
from collector.core.inputs import History

_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def length_of(interval: str) -> int:
    """Seconds of an interval such as `15m`."""
    return int(interval[:-1]) * _UNIT_S[interval[-1]]


def history_batch(recv_ns: int, history: History) -> Batch:
    """Rows of table `klines`; there must be at least one."""
    klines = history.klines
    length_ms = 1000 * length_of(history.interval)
    return Batch(
        "klines",
        {
            "open_time": [one.open_time_ms for one in klines],
            "interval": [history.interval] * len(klines),
            "event_time": [one.open_time_ms + length_ms - 1 for one in klines],
            "close_time": [one.open_time_ms + length_ms - 1 for one in klines],
            "open": [one.open for one in klines],
            "high": [one.high for one in klines],
            "low": [one.low for one in klines],
            "close": [one.close for one in klines],
            "volume": [one.volume for one in klines],
            "quote_volume": [one.quote_volume for one in klines],
            "taker_buy_volume": [one.buy_volume for one in klines],
            "taker_buy_quote_volume": [one.buy_quote_volume for one in klines],
            "trades": [one.trades for one in klines],
            "closed": [True] * len(klines),
            "recv_ns": [recv_ns] * len(klines),
            "source": ["rest"] * len(klines),
        },
    )


def history_detail(history: History) -> str:
    """What an event says of it: interval, and the first and last time at which a kline opened (ms)."""
    if not history.klines:
        return f"{history.interval} none"
    return f"{history.interval} {history.klines[0].open_time_ms} {history.klines[-1].open_time_ms}"
