"""Klines computed from trades alone."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields

from collector.simulator.packed import PackedRows

_KEPT = 20_000


@dataclass(slots=True)
class Kline:
    """One bar in ticks and lots; turnover is in ticks times lots. Trade ids are -1 while there was no trade."""

    open_ms: int
    interval_ms: int
    open: int
    high: int
    low: int
    close: int
    lots: int = 0
    turnover: int = 0
    taker_buy_lots: int = 0
    taker_buy_turnover: int = 0
    first_trade_id: int = -1
    last_trade_id: int = -1
    trades: int = 0

    def closed(self, now_ms: int) -> bool:
        return now_ms >= self.open_ms + self.interval_ms


class KlineSeries:
    """The open bar of one interval, and those before it. Bars without trades repeat the last close."""

    def __init__(self, interval_ms: int, now_ms: int, price: int) -> None:
        self.interval_ms = interval_ms
        self.bar = self._empty(now_ms, price)
        self.closed = PackedRows(_KEPT, len(fields(Kline)), Kline)

    def roll(self, now_ms: int) -> Kline | None:
        """Begins the bar of `now_ms`; gives back the one that was open, if it ended."""
        if not self.bar.closed(now_ms):
            return None
        done = self.bar
        while self.bar.closed(now_ms):
            self.closed.append(*astuple(self.bar))
            self.bar = self._empty(self.bar.open_ms + self.interval_ms, self.bar.close)
        return done

    def add(self, price: int, lots: int, first_trade_id: int, last_trade_id: int, taker_buys: bool) -> None:
        """Adds an aggregate trade of the open bar."""
        bar = self.bar
        if not bar.trades:
            bar.open = bar.high = bar.low = price
            bar.first_trade_id = first_trade_id
        bar.high = max(bar.high, price)
        bar.low = min(bar.low, price)
        bar.close = price
        bar.lots += lots
        bar.turnover += price * lots
        if taker_buys:
            bar.taker_buy_lots += lots
            bar.taker_buy_turnover += price * lots
        bar.last_trade_id = last_trade_id
        bar.trades += last_trade_id - first_trade_id + 1

    def _empty(self, now_ms: int, price: int) -> Kline:
        open_ms = now_ms - now_ms % self.interval_ms
        return Kline(open_ms, self.interval_ms, price, price, price, price)
