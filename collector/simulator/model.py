"""A market made from a seed: an order book whose own orders and trades change it.

Pure: no clock, no IO. The sequence of states is a function of the seed and the number of steps alone.

Prices are in ticks, quantities in lots. Each change of a level takes one update id. On spot ids are contiguous; on
futures they are shared by all markets, so ids jump.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from collector.simulator.names import SPOT

if TYPE_CHECKING:
    from collector.simulator.instruments import Instrument

_NEAR_TICKS = 300
REACH_TICKS = 15.0
_GRID_TICKS = 5
_PRESENCE = 0.67
_CANCEL = 0.5  # a hit on a resting level cancels it as often, which keeps about two sites of three taken
_MIN_LEVELS = 60
_PRESSURE_STEPS = 200  # mean length of a pressure; 10 s at 50 ms a step
_TAKER_SHIFT = 0.45
_QUOTE_SHIFT = 0.1
_SIZE_SHIFT = 0.8
_NEAR_SIZE_TICKS = 15


class TopOfBook(NamedTuple):
    """The best quotes just after update `id`."""

    id: int
    bid: int
    bid_lots: int
    ask: int
    ask_lots: int


class Fill(NamedTuple):
    """What one taker order took at one price: an aggregate trade. `parts` are the single trades, in lots."""

    id: int
    price: int
    lots: int
    first_trade_id: int
    parts: tuple[int, ...]
    buyer_is_maker: bool

    @property
    def last_trade_id(self) -> int:
        return self.first_trade_id + len(self.parts) - 1


@dataclass(slots=True)
class Step:
    """What one step did. `events` are in the order in which they happened; quantity 0 is a removed level."""

    first_id: int = 0
    last_id: int = 0
    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)
    events: list[TopOfBook | Fill] = field(default_factory=list)


class MarketModel:
    """One seeded market.

    With a `signal` the next moves can be forecast from the book: a hidden pressure of +1 or -1, which turns after ten
    seconds on average (exponentially distributed, at 50 ms a step), shifts three odds in proportion to it. New levels
    within 15 ticks of the best price are larger on its side (x 1 ± 0.8 signal), limit order changes hit its side more
    often (1/2 ± 0.1 signal), and so do taker orders (1/2 ± 0.45 signal). Without a signal the price has no memory that
    the book would show. `docs/simulator.md` says how much of the moves the pressure explains.
    """

    def __init__(
        self, instrument: Instrument, seed: int, depth: int, signal: float = 0.0, reach_ticks: float = REACH_TICKS
    ) -> None:
        """
        Args:
            depth: levels a side to start with, about; also what the book stays near.
            signal: how much the book tells of the next moves, 0 (nothing) to 1.
            reach_ticks: mean distance of most changes from the best price. Few levels are within a short reach, so
                however many changes there are, a diff has no more of them.
        """
        self.instrument = instrument
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self._rng = random.Random(f"{seed}/{instrument.exchange}/{instrument.symbol}")
        self._signal = signal
        self._near_rate = 1 / reach_ticks
        # Its own source, so that a market without a signal is the same with this code as before it.
        self._pressure_rng = random.Random(f"{seed}/{instrument.exchange}/{instrument.symbol}/pressure")
        self.pressure = 0
        self._contiguous = instrument.exchange == SPOT
        self._anchor = instrument.start_ticks
        self.last_id = self._rng.randrange(10**10, 10**11)
        self.next_id = self.last_id + (1 if self._contiguous else 2)
        self.last_fill_id = self._rng.randrange(10**8, 10**9)
        self.last_trade_id = self.last_fill_id * 2
        self._far_ticks = min(depth * _GRID_TICKS / 3, self._anchor / 20)
        self._step = Step()
        self._populate(depth)
        self.best_bid = max(self.bids)
        self.best_ask = min(self.asks)

    def step(self, changes: float, orders: float) -> Step:
        """Moves the market on.

        Args:
            changes: mean number of limit order changes, exponentially distributed as bursts are.
            orders: mean number of taker orders, Poisson.
        """
        step = self._step = Step()
        rng = self._rng
        if self._signal:
            self._press()
        todo = [False] * int(rng.expovariate(1 / changes) + rng.random()) if changes > 0 else []
        todo += [True] * _poisson(rng, orders)
        rng.shuffle(todo)
        for take in todo:
            if take:
                self._take()
            else:
                self._quote()
        step.last_id = self.last_id
        return step

    def top(self, count: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """The best `count` bids and asks as (ticks, lots), best first."""
        return (
            sorted(self.bids.items(), reverse=True)[:count],
            sorted(self.asks.items())[:count],
        )

    def _populate(self, depth: int) -> None:
        rng = self._rng
        for book, sign in ((self.bids, -1), (self.asks, 1)):
            offset = 1
            while len(book) < depth:
                price = self._anchor + sign * offset
                if price < 1:
                    break
                if offset == 1 or rng.random() < _PRESENCE:
                    book[price] = self._lots()
                offset += 1 if offset < _NEAR_TICKS else _GRID_TICKS - price % _GRID_TICKS

    def _press(self) -> None:
        """The pressure begins, goes on, or turns."""
        if not self.pressure or self._pressure_rng.random() < 1 / _PRESSURE_STEPS:
            self.pressure = -self.pressure or self._pressure_rng.choice((-1, 1))

    def _lots(self, factor: float = 1.0) -> int:
        return 1 + int(self._rng.expovariate(1 / (self.instrument.mean_lots * factor)))

    def _near_lots(self, bid: bool) -> int:
        return self._lots(1.0 + (1 if bid else -1) * _SIZE_SHIFT * self._signal * self.pressure)

    def _quote(self) -> None:
        """One limit order is placed, changed or cancelled."""
        rng = self._rng
        bid = rng.random() < 0.5 + _QUOTE_SHIFT * self._signal * self.pressure
        book, best, sign = (self.bids, self.best_bid, -1) if bid else (self.asks, self.best_ask, 1)
        spread = self.best_ask - self.best_bid
        kind = rng.random()
        if spread > 1 and kind < 0.35:
            self._set(bid, best - sign * rng.randint(1, min(spread - 1, 5)), self._near_lots(bid))
            return
        if kind < 0.8:
            price = best + sign * int(rng.expovariate(self._near_rate))
        else:
            price = best + sign * int(rng.expovariate(1 / self._far_ticks))
            price -= price % _GRID_TICKS if abs(price - best) >= _NEAR_TICKS else 0
        if price < 1:
            return
        cancel = price in book and len(book) > _MIN_LEVELS and rng.random() < _CANCEL
        if cancel:
            self._set(bid, price, 0)
        else:
            self._set(bid, price, self._near_lots(bid) if abs(price - best) <= _NEAR_SIZE_TICKS else self._lots())

    def _take(self) -> None:
        """One taker order walks the book until it is filled."""
        rng = self._rng
        middle = (self.best_bid + self.best_ask) / 2
        pull = max(-0.3, min(0.3, (self._anchor - middle) / (0.02 * self._anchor)))
        buy = rng.random() < 0.5 + pull + _TAKER_SHIFT * self._signal * self.pressure
        book = self.asks if buy else self.bids
        wanted = 1 + int(rng.expovariate(1 / (0.6 * self.instrument.mean_lots)))
        while wanted and len(book) > _MIN_LEVELS:
            price = self.best_ask if buy else self.best_bid
            resting = book[price]
            lots = min(wanted, resting)
            parts = self._parts(lots)
            self.last_fill_id += 1
            fill = Fill(self.last_fill_id, price, lots, self.last_trade_id + 1, parts, buyer_is_maker=not buy)
            self.last_trade_id = fill.last_trade_id
            self._step.events.append(fill)
            self._set(not buy, price, resting - lots)
            wanted -= lots

    def _parts(self, lots: int) -> tuple[int, ...]:
        count = min(lots, self._rng.choice((1, 1, 1, 2, 3)))
        cuts = sorted(self._rng.sample(range(1, lots), count - 1)) if count > 1 else []
        return tuple(end - start for start, end in zip([0, *cuts], [*cuts, lots], strict=True))

    def _set(self, bid: bool, price: int, lots: int) -> None:
        self.last_id = self.next_id
        self.next_id += 1 if self._contiguous else self._rng.randint(2, 40)
        step = self._step
        step.first_id = step.first_id or self.last_id
        book, changed = (self.bids, step.bids) if bid else (self.asks, step.asks)
        changed[price] = lots
        best = self.best_bid if bid else self.best_ask
        if lots:
            book[price] = lots
            better = price > best if bid else price < best
            if better:
                best = price
            elif price != best:
                return
        else:
            book.pop(price, None)
            if price != best:
                return
            toward = -1 if bid else 1
            while best not in book:
                best += toward
        if bid:
            self.best_bid = best
        else:
            self.best_ask = best
        step.events.append(
            TopOfBook(self.last_id, self.best_bid, self.bids[self.best_bid], self.best_ask, self.asks[self.best_ask])
        )


def _poisson(rng: random.Random, mean: float) -> int:
    """Knuth's product method (The Art of Computer Programming, volume 2, 3.4.1); fine for the small means used here."""
    limit = math.exp(-mean)
    count, product = 0, rng.random()
    while product > limit:
        count += 1
        product *= rng.random()
    return count
