"""A seeded market as streams and snapshots. Pure: the server tells the time and what is subscribed to."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from collector.simulator import payloads
from collector.simulator.klines import Kline, KlineSeries
from collector.simulator.messages import Message
from collector.simulator.model import REACH_TICKS, Fill, MarketModel
from collector.simulator.names import KLINE_MS, SPOT, USDM
from collector.simulator.packed import PackedRows

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from collector.simulator.instruments import Instrument
    from collector.simulator.model import Step

STEP_MS = 50
"""One step of the model. Half the fastest diff, so that a snapshot often falls inside a diff, as on the exchange."""

_HISTORY_ROWS = 200_000
_FUNDING_MS = 8 * 3_600_000


class _DiffWindow:
    """Changes since the last diff of one speed."""

    def __init__(self, speed_ms: int, last_id: int, now_ms: int) -> None:
        self.speed_ms = max(speed_ms, 1)
        self.prev_id = last_id
        self.first_id = 0
        self.last_id = last_id
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self._slot = now_ms // self.speed_ms

    def add(self, step: Step) -> None:
        if step.first_id:
            self.first_id = self.first_id or step.first_id
            self.last_id = step.last_id
            self.bids |= step.bids
            self.asks |= step.asks

    def due(self, now_ms: int) -> bool:
        """Whether a diff is to be sent at the end of this step; an unchanged book sends none."""
        slot, self._slot = self._slot, now_ms // self.speed_ms
        return bool(self._slot > slot and self.first_id)

    def begin(self) -> None:
        self.prev_id = self.last_id
        self.first_id = 0
        self.bids = {}
        self.asks = {}


class SeededMarket:
    """One symbol of one exchange."""

    def __init__(
        self,
        instrument: Instrument,
        seed: int,
        depth: int,
        changes_per_diff: float,
        orders_per_s: float,
        now_ms: int,
        *,
        past_ms: int = 0,
        past_orders: int = 0,
        signal: float = 0.0,
        reach_ticks: float = REACH_TICKS,
    ) -> None:
        """
        Args:
            depth: levels a side.
            changes_per_diff: mean limit order changes in 100 ms.
            orders_per_s: mean taker orders a second.
            past_ms: how long the market has traded already; `past_orders` is about how many taker orders it had.
            signal: how much the book tells of the next moves, 0 to 1; see `MarketModel`.
            reach_ticks: mean distance of most changes from the best price.
        """
        self.instrument = instrument
        self.model = MarketModel(instrument, seed, depth, signal, reach_ticks)
        self.history = PackedRows(_HISTORY_ROWS, 7, partial(payloads.agg_trade_row, instrument))
        self.single_trades = PackedRows(_HISTORY_ROWS, 5, partial(payloads.trade_row, instrument))
        self._changes = changes_per_diff * STEP_MS / 100
        self._orders = orders_per_s * STEP_MS / 1000
        self._windows: dict[int, _DiffWindow] = {}
        self._sent_partial: dict[tuple[str, int], int] = {}
        self._klines = {
            name: KlineSeries(interval_ms, now_ms - past_ms, instrument.start_ticks)
            for name, interval_ms in KLINE_MS.items()
            if instrument.exchange == SPOT or name != "1s"
        }
        self._sent_klines: dict[str, int] = {}
        self._forced_ms = 0
        self._live_through(now_ms - past_ms, now_ms, past_orders)
        self._now_ms = now_ms
        self._first_book = (self.model.last_id, *self.model.top(5000))

    def advance(self, now_ms: int, subscribed: Collection[tuple[str, int]]) -> list[Message]:
        """Moves the market one step; gives the messages of the subscribed (channel, speed_ms), in order of sending."""
        messages: list[Message] = []
        diff_speeds = {speed_ms for channel, speed_ms in subscribed if channel == "depth"}
        self._keep_windows(diff_speeds)
        made_ms = now_ms - 1  # a step's trades were made right before it, and klines go by the time of trades
        closed = {name: bar for name, series in self._klines.items() if (bar := series.roll(made_ms)) is not None}
        channels = {channel for channel, _ in subscribed}
        step = self.model.step(self._changes, self._orders)
        for event in step.events:
            if isinstance(event, Fill):
                self._fill(event, now_ms, channels, messages)
            elif "bookTicker" in channels:
                payload = payloads.book_ticker(self.instrument, now_ms, event)
                messages.append(self._message("bookTicker", 0, event.id, payload))
        for window in self._windows.values():
            window.add(step)
        self._diffs(now_ms, messages)
        if subscribed:
            self._slow_streams(now_ms, subscribed, closed, messages)
        self._now_ms = now_ms
        return messages

    def klines(self, interval: str) -> list[list[Any]]:
        """Rows of REST klines, the open one last; none for an interval that there is not."""
        series = self._klines.get(interval)
        bars = [] if series is None else [*series.closed, series.bar]
        return [payloads.kline_row(self.instrument, bar) for bar in bars]

    def depth(self, limit: int, now_ms: int, *, foreign_id: bool = False) -> bytes:
        """A REST snapshot. `foreign_id` gives it the last id before this market's next change, which is another's."""
        last_id = self.model.next_id - 1 if foreign_id else self.model.last_id
        return payloads.snapshot(self.instrument, now_ms, last_id, *self.model.top(limit))

    def stale_depth(self, limit: int, now_ms: int) -> bytes:
        last_id, bids, asks = self._first_book
        return payloads.snapshot(self.instrument, now_ms, last_id, bids[:limit], asks[:limit])

    def _live_through(self, start_ms: int, end_ms: int, orders: int) -> None:
        """Trades of a time when nobody listened, in as many steps as there are taker orders."""
        for number in range(orders):
            now_ms = start_ms + (end_ms - start_ms) * (number + 1) // (orders + 1)
            for series in self._klines.values():
                series.roll(now_ms - 1)  # the fills bear this time
            for event in self.model.step(1.0, 1.0).events:
                if isinstance(event, Fill):
                    self._fill(event, now_ms, set(), [])
        for series in self._klines.values():
            series.roll(end_ms)

    def _message(self, channel: str, speed_ms: int, message_id: int, payload: bytes) -> Message:
        return Message(self.instrument.exchange, self.instrument.symbol, channel, speed_ms, message_id, payload)

    def _keep_windows(self, speeds_ms: set[int]) -> None:
        for speed_ms in speeds_ms - self._windows.keys():
            self._windows[speed_ms] = _DiffWindow(speed_ms, self.model.last_id, self._now_ms)
        for speed_ms in self._windows.keys() - speeds_ms:
            del self._windows[speed_ms]

    def _fill(self, fill: Fill, now_ms: int, channels: set[str], messages: list[Message]) -> None:
        trade_ids = (fill.first_trade_id, fill.last_trade_id)
        numbers = (now_ms - 1, fill.id, fill.price, fill.lots, *trade_ids, fill.buyer_is_maker)
        self.history.append(*numbers)
        for series in self._klines.values():
            series.add(fill.price, fill.lots, *trade_ids, not fill.buyer_is_maker)
        for trade_id, lots in enumerate(fill.parts, fill.first_trade_id):
            self.single_trades.append(now_ms - 1, trade_id, fill.price, lots, fill.buyer_is_maker)
            if "trade" in channels:
                payload = payloads.trade(self.instrument, now_ms, trade_id, fill.price, lots, fill.buyer_is_maker)
                messages.append(self._message("trade", 0, trade_id, payload))
        if "aggTrade" in channels:
            payload = payloads.agg_trade(self.instrument, now_ms, payloads.agg_trade_row(self.instrument, *numbers))
            messages.append(self._message("aggTrade", 0, fill.id, payload))
        # About one fill in 20 is a liquidation; the stream shows at most one a second (the exchange's rule).
        if "forceOrder" in channels and fill.id % 20 == 0 and now_ms - self._forced_ms >= 1000:
            self._forced_ms = now_ms
            payload = payloads.force_order(self.instrument, now_ms, fill)
            messages.append(self._message("forceOrder", 0, now_ms - 1, payload))

    def _diffs(self, now_ms: int, messages: list[Message]) -> None:
        for speed_ms, window in self._windows.items():
            if window.due(now_ms):
                payload = payloads.depth_update(
                    self.instrument,
                    now_ms,
                    window.first_id,
                    window.last_id,
                    window.prev_id,
                    window.bids.items(),
                    window.asks.items(),
                )
                messages.append(self._message("depth", speed_ms, window.last_id, payload))
                window.begin()

    def _slow_streams(
        self,
        now_ms: int,
        subscribed: Collection[tuple[str, int]],
        closed: dict[str, Kline],
        messages: list[Message],
    ) -> None:
        for channel, speed_ms in sorted(subscribed):
            if channel.startswith("depth") and channel != "depth":
                self._partial(now_ms, channel, speed_ms, messages)
            elif channel == "markPrice" and self._crosses(now_ms, speed_ms):
                messages.append(self._message(channel, speed_ms, now_ms, self.mark_price(now_ms)))
            elif channel.startswith("kline_"):
                self._kline(now_ms, channel, closed.get(channel.removeprefix("kline_")), messages)

    def _crosses(self, now_ms: int, interval_ms: int) -> bool:
        return now_ms // interval_ms > self._now_ms // interval_ms

    def _partial(self, now_ms: int, channel: str, speed_ms: int, messages: list[Message]) -> None:
        last_id = self.model.last_id
        prev_id = self._sent_partial.get((channel, speed_ms), last_id)
        if not self._crosses(now_ms, speed_ms) or self._sent_partial.get((channel, speed_ms)) == last_id:
            return
        self._sent_partial[channel, speed_ms] = last_id
        bids, asks = self.model.top(int(channel.removeprefix("depth")))
        if self.instrument.exchange == USDM:
            payload = payloads.depth_update(self.instrument, now_ms, prev_id + 1, last_id, prev_id, bids, asks)
        else:
            payload = payloads.snapshot(self.instrument, now_ms, last_id, bids, asks)
        messages.append(self._message(channel, speed_ms, last_id, payload))

    def mark_price(self, now_ms: int) -> bytes:
        """A mark price update. The mark is the middle of the book, the index lies a tick above."""
        middle = (self.model.best_bid + self.model.best_ask) // 2
        mark, index = self.instrument.price_text(middle), self.instrument.price_text(middle + 1)
        return payloads.mark_price(self.instrument, now_ms, mark, index, now_ms - now_ms % _FUNDING_MS + _FUNDING_MS)

    def _kline(self, now_ms: int, channel: str, closed: Kline | None, messages: list[Message]) -> None:
        interval = channel.removeprefix("kline_")
        if closed is not None:
            payload = payloads.kline(self.instrument, now_ms, interval, closed, closed=True)
            messages.append(self._message(channel, 0, now_ms, payload))
        cadence_ms = 250 if self.instrument.exchange == USDM else 1000 if interval == "1s" else 2000
        bar = self._klines[interval].bar
        if self._crosses(now_ms, cadence_ms) and self._sent_klines.get(interval) != bar.last_trade_id:
            self._sent_klines[interval] = bar.last_trade_id
            payload = payloads.kline(self.instrument, now_ms, interval, bar, closed=False)
            messages.append(self._message(channel, 0, now_ms, payload))


class SeededSource:
    """All seeded markets of one exchange."""

    def __init__(self, markets: Collection[SeededMarket]) -> None:
        self.markets = {market.instrument.symbol: market for market in markets}

    def symbols(self) -> frozenset[str]:
        return frozenset(self.markets)

    def depth(self, symbol: str, limit: int, now_ms: int) -> bytes:
        return self.markets[symbol].depth(limit, now_ms)

    def stale_depth(self, symbol: str, limit: int, now_ms: int) -> bytes:
        return self.markets[symbol].stale_depth(limit, now_ms)

    def agg_trades(self, symbol: str) -> Sequence[dict[str, Any]]:
        return self.markets[symbol].history

    def trades(self, symbol: str) -> Sequence[dict[str, Any]]:
        return self.markets[symbol].single_trades

    def klines(self, symbol: str, interval: str) -> list[list[Any]]:
        return self.markets[symbol].klines(interval)
