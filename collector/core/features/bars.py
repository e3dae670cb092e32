"""Trades in sums: of each epoch, and in bars of whole seconds.

Bars here go by receipt, as all that a feature knows does: the bar that ends at epoch T holds the trades received in
[T - length, T), so it is over at T and never changes. (Table `bars` goes by the time of the trade.)
A bar in which nothing was traded carries the last price. One that began before the first epoch seen is left out.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from collector.core.features.workspace import TRADES, Signal, Workspace
from collector.core.flow import EpochFlow
from collector.core.history import length_of
from collector.core.inputs import History, Kline

_BASE_S = 60
KEPT_BARS = 400


class EpochTrades(Signal):
    """Sums over the trades of one epoch: base currency (`buy`, `sell`), quote currency (`buy_quote`, `sell_quote`).

    `sell` is what takers sold. `last` is the newest price of any epoch; None before the first trade.
    """

    inputs = frozenset({TRADES})

    def start(self) -> None:
        self.last: float | None = None
        self.last_recv_ns: int | None = None
        self._nothing()

    def _nothing(self) -> None:
        self.count = 0
        self.buy = self.sell = self.buy_quote = self.sell_quote = 0.0
        self.open = self.high = self.low = self.last

    def update(self, flow: EpochFlow) -> None:
        trades = flow.trades
        self.count = len(trades)
        if not self.count:
            self._nothing()
            return
        price, quantity, maker = trades.price, trades.quantity, trades.is_buyer_maker
        notional = price * quantity
        self.buy, self.sell = float(quantity[~maker].sum()), float(quantity[maker].sum())
        self.buy_quote, self.sell_quote = float(notional[~maker].sum()), float(notional[maker].sum())
        self.open, self.last = price.item(0), price.item(-1)
        self.high, self.low = float(price.max()), float(price.min())
        self.last_recv_ns = trades.recv_ns.item(-1)


class Bar(NamedTuple):
    """Prices in quote currency, volumes in base currency; `end` is the epoch at which it was over."""

    end: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    buy: float
    sell: float
    buy_quote: float
    sell_quote: float


class Bars(Signal):
    """Bars of `length_s`. `closed` holds those that this epoch ended: one, or none; more where history came.

    `bare` says that history would help: nothing is known of the time before it began.
    `afresh` says that `closed` begins anew, with history before it: whoever keeps a state starts again with these.
    """

    def __init__(self, workspace: Workspace, length_s: int) -> None:
        self.length_s = length_s
        self._interval_s = workspace.interval_s
        self._finer = None
        if length_s > _BASE_S and length_s % _BASE_S == 0 and _BASE_S % workspace.interval_s == 0:
            self._finer = workspace.signal(Bars, _BASE_S)
        self._trades = workspace.signal(EpochTrades)

    def start(self) -> None:
        self.closed: list[Bar] = []
        self.afresh = False
        self._open: Bar | None = None
        self._whole = False
        self._kept: deque[Bar] = deque(maxlen=KEPT_BARS)
        self._past: list[Bar] = []
        self.bare = self.length_s >= _BASE_S

    def update(self, flow: EpochFlow) -> None:
        self.closed, self.afresh = [], False
        if self.length_s % self._interval_s:
            return  # epochs do not add up to such a bar
        if self._finer is None:
            self._add(flow.epoch, self._interval_s, self._epoch_bar(flow.epoch))
        else:
            if self._finer.afresh:
                self._open, self._whole, self.afresh = None, False, True
                self._kept.clear()
            for bar in self._finer.closed:
                self._add(bar.end, _BASE_S, bar)
        if self._past and self._kept:
            self._join_past()

    def seed(self, history: History) -> None:
        """Takes bars of the time before, if they are of this length. They count once one of our own follows on them."""
        if length_of(history.interval) != self.length_s:
            return
        self.bare = False
        past: list[Bar] = []
        for bar in (_bar_of(kline, self.length_s) for kline in history.klines):
            if past and bar.end - past[-1].end != self.length_s:
                past = []
            past.append(bar)
        self._past = past

    def _join_past(self) -> None:
        first = self._kept[0].end - self.length_s
        past = [bar for bar in self._past if bar.end <= first]
        self._past = []
        if past and past[-1].end == first:
            self._kept = deque([*past, *self._kept], maxlen=KEPT_BARS)
            self.closed, self.afresh = list(self._kept), True

    def _epoch_bar(self, end: int) -> Bar | None:
        trades = self._trades
        if trades.open is None or trades.high is None or trades.low is None or trades.last is None:
            return None
        return Bar(
            end,
            trades.open,
            trades.high,
            trades.low,
            trades.last,
            trades.buy + trades.sell,
            trades.buy,
            trades.sell,
            trades.buy_quote,
            trades.sell_quote,
        )

    def _add(self, end: int, span_s: int, part: Bar | None) -> None:
        """Adds what was traded in [end - span_s, end)."""
        if (end - span_s) % self.length_s == 0:
            self._open, self._whole = None, True
        if part is not None:
            self._open = part if self._open is None else _merged(self._open, part)
        if end % self.length_s == 0 and self._whole and self._open is not None:
            self.closed.append(self._open._replace(end=end))
            self._kept.append(self.closed[-1])


def _merged(before: Bar, after: Bar) -> Bar:
    return Bar(
        after.end,
        before.open,
        max(before.high, after.high),
        min(before.low, after.low),
        after.close,
        before.volume + after.volume,
        before.buy + after.buy,
        before.sell + after.sell,
        before.buy_quote + after.buy_quote,
        before.sell_quote + after.sell_quote,
    )


def _bar_of(kline: Kline, length_s: int) -> Bar:
    return Bar(
        kline.open_time_ms // 1000 + length_s,
        kline.open,
        kline.high,
        kline.low,
        kline.close,
        kline.volume,
        kline.buy_volume,
        kline.volume - kline.buy_volume,
        kline.buy_quote_volume,
        kline.quote_volume - kline.buy_quote_volume,
    )
