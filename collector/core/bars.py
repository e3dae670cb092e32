"""Bars of trades by trade time: OHLCV with what takers bought and sold.

A bar [open, open + interval) holds the trades whose own time lies in it. It is closed at the first epoch that is at
least `DELAY_MS` past its end by our clock, once the exchange's clock was seen past it too, or `PATIENCE_MS` later all
the same: a quiet market is no reason to wait for ever. So inputs alone close a bar, and a replay gives the same bars.

A trade that comes later is in no bar: it is counted in the bar that is open then, and said in an event, once a bar.
Empty bars repeat the last close. A bar is not `complete` when trades may be missing in it: a gap touched it, or it had
begun before trades were connected. A bar that is open when a session ends is not written; the next session writes it as
not complete. The stored trades still tell: `collector backfill bars` makes rows of them, and
`collector.bars.trades_to_ohlcv` a table.

Volumes are summed as integers, so they are exact, and the order of trades does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.core.batch import Batch
from collector.core.decimals import BadNumber, Decimals, units_of
from collector.core.epochs import SECOND_NS
from collector.core.flow import EpochFlow, Flags, Floats, Ints, Trades
from collector.core.records import Tell, rows_batch

DELAY_MS: Final = 1000
PATIENCE_MS: Final = 30_000
_CLOCKS_MS: Final = 60_000
"""By how much the exchange's clock may differ from ours before it is not believed."""

_UNIT_MS: Final = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}
_INTERVAL = re.compile(r"([1-9]\d{0,5})([smhdw])")
_MONDAY_MS = 4 * 86_400_000  # the Unix epoch began on a Thursday; weeks begin on Mondays, as the exchange's do

COLUMNS: Final = (
    "open_time",
    "interval_ms",
    "interval",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "buy_volume",
    "sell_volume",
    "delta",
    "trades",
    "empty",
    "late_trades",
    "complete",
    "recv_ns",
)
_LATE = COLUMNS.index("late_trades")


def interval_ms(text: str) -> int:
    """Milliseconds of `5s`, `15s`, `1m`, `4h`, `1d`, `1w`, …

    Raises:
        ValueError: another form; months have no one length.
    """
    match = _INTERVAL.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no interval; write it as 5s, 15s, 1m, 4h, 1d or 1w")
    return int(match[1]) * _UNIT_MS[match[2]]


def open_of(time_ms: int, interval: int) -> int:
    """The open time of the bar that `time_ms` lies in. Weeks begin on Monday, UTC."""
    shift = _shift(interval)
    return (time_ms - shift) // interval * interval + shift


def _shift(interval: int) -> int:
    return _MONDAY_MS if interval % _UNIT_MS["w"] == 0 else 0


@dataclass(slots=True)
class ExactSum:
    """A sum of decimals: `units` / 10**`places`, of any size."""

    units: int = 0
    places: int = 0

    def add(self, units: int, places: int) -> None:
        """Adds `units` / 10**`places`."""
        if places > self.places:
            self.units *= 10 ** (places - self.places)
            self.places = places
        self.units += units * 10 ** (self.places - places)

    def __float__(self) -> float:
        return float(self.units / 10**self.places)  # correctly rounded, as divisions of integers are


@dataclass(slots=True)
class Bar:
    """One bar while trades come."""

    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None
    buy: ExactSum = field(default_factory=ExactSum)
    sell: ExactSum = field(default_factory=ExactSum)
    quote: ExactSum = field(default_factory=ExactSum)
    trades: int = 0
    complete: bool = True

    def add(self, some: ExactTrades) -> None:
        """Adds trades, of which there is at least one."""
        high, low = float(some.price.max()), float(some.price.min())
        self.open = float(some.price[0]) if self.open is None else self.open
        self.high = high if self.high is None else max(self.high, high)
        self.low = low if self.low is None else min(self.low, low)
        self.close = float(some.price[-1])
        self.buy.add(_sum(some.lots[~some.sold]), some.lot_places)
        self.sell.add(_sum(some.lots[some.sold]), some.lot_places)
        self.quote.add(_dot(some.ticks, some.lots), some.tick_places + some.lot_places)
        self.trades += int(some.fills.sum())

    @property
    def sums(self) -> tuple[float, float, float, float, float]:
        """Volume, quote volume, what takers bought and sold, and the difference of these; each correctly rounded."""
        volume, delta = ExactSum(), ExactSum()
        for total, sign in ((self.buy, 1), (self.sell, -1)):
            volume.add(total.units, total.places)
            delta.add(sign * total.units, total.places)
        return float(volume), float(self.quote), float(self.buy), float(self.sell), float(delta)


class ExactTrades(NamedTuple):
    """Trades with prices and quantities as integers too: `ticks` of 10**-`tick_places`, `lots` of 10**-`lot_places`."""

    time_ms: Ints
    price: Floats
    ticks: NDArray[Any]
    lots: NDArray[Any]
    sold: Flags
    fills: Ints
    tick_places: int
    lot_places: int

    def where(self, chosen: Flags) -> ExactTrades:
        """Those that are chosen."""
        return self if chosen.all() else self.take(np.flatnonzero(chosen))

    def take(self, chosen: slice | NDArray[np.intp]) -> ExactTrades:
        """Those at these places, in that order."""
        return self._replace(
            time_ms=self.time_ms[chosen],
            price=self.price[chosen],
            ticks=self.ticks[chosen],
            lots=self.lots[chosen],
            sold=self.sold[chosen],
            fills=self.fills[chosen],
        )


class ExactColumns:
    """Makes integers of prices and quantities, in decimals that grow as they need to."""

    def __init__(self) -> None:
        self._price, self._quantity = Decimals(), Decimals()

    def of(self, trades: Trades) -> ExactTrades:
        """The same trades, exact."""
        ticks, tick_places = _units(trades.price, self._price)
        lots, lot_places = _units(trades.quantity, self._quantity)
        fills = np.maximum(trades.last_id - trades.first_id + 1, 1)
        sold = trades.is_buyer_maker
        return ExactTrades(trades.timestamp_ms, trades.price, ticks, lots, sold, fills, tick_places, lot_places)


def _units(values: Floats, decimals: Decimals) -> tuple[NDArray[Any], int]:
    try:
        return units_of(values, decimals), decimals.places or 0
    except BadNumber:  # absurd beside the others: no 15 digits hold both, so these are integers of any size
        exact = [Decimal(repr(value)) for value in values.tolist()]
        places = max(0, *(-int(one.as_tuple().exponent) for one in exact))
        return np.array([int(one.scaleb(places)) for one in exact], object), places


def _sum(units: NDArray[Any]) -> int:
    if units.dtype != object and len(units) and int(units.max()) * len(units) >= 2**63:
        units = units.astype(object)
    return int(units.sum())


def _dot(ticks: NDArray[Any], lots: NDArray[Any]) -> int:
    if int(ticks.max()) * int(lots.max()) * len(ticks) >= 2**63:
        return sum(one * other for one, other in zip(ticks.tolist(), lots.tolist(), strict=True))
    return int((ticks * lots).sum())


class BarSeries:
    """The bars of one interval, the one to be closed next at `next_ms`."""

    def __init__(self, name: str, start_ms: int) -> None:
        """The first bar is that of `start_ms`. Raises ValueError: `name` is no interval."""
        self.name = name
        self.interval = interval_ms(name)
        self.next_ms = open_of(start_ms, self.interval)
        self._bars: dict[int, Bar] = {}
        self._close: float | None = None
        self._late = 0

    def doubt(self, from_ms: int, to_ms: int) -> None:
        """Trades of from_ms…to_ms may be missing."""
        open_ms = max(open_of(from_ms, self.interval), self.next_ms)
        while open_ms <= to_ms:
            self._bars.setdefault(open_ms, Bar()).complete = False
            open_ms += self.interval

    def add(self, trades: ExactTrades) -> None:
        """Adds trades; counts those whose bar is closed already."""
        opens = _opens_of(trades.time_ms, self.interval)
        if (opens[1:] < opens[:-1]).any():
            order = opens.argsort(kind="stable")
            opens, trades = opens[order], trades.take(order)
        starts = [0, *((opens[1:] != opens[:-1]).nonzero()[0] + 1).tolist()]
        for start, stop in zip(starts, [*starts[1:], len(opens)], strict=True):
            open_ms = int(opens[start])
            if open_ms < self.next_ms:
                self._late += stop - start
            else:
                whole = stop - start == len(opens)
                self._bars.setdefault(open_ms, Bar()).add(trades if whole else trades.take(slice(start, stop)))

    def closed(self, until_ms: int, closed_ns: int) -> Iterator[tuple[Any, ...]]:
        """Rows of the bars that end at or before `until_ms`, in order."""
        while self.next_ms + self.interval <= until_ms:
            bar = self._bars.pop(self.next_ms, None) or Bar()
            yield self._row(bar, closed_ns)
            self._close = bar.close if bar.close is not None else self._close
            self._late = 0
            self.next_ms += self.interval

    def _row(self, bar: Bar, closed_ns: int) -> tuple[Any, ...]:
        empty = bar.open is None
        prices = (self._close,) * 4 if empty else (bar.open, bar.high, bar.low, bar.close)
        flags = (bar.trades, empty, self._late, bar.complete, closed_ns)
        return (self.next_ms, self.interval, self.name, *prices, *bar.sums, *flags)


class Bars:
    """Makes rows of table `bars`, of several intervals; an `EpochConsumer`."""

    def __init__(self, intervals: Iterable[str], interval_s: int, tell: Tell) -> None:
        """
        Args:
            interval_s: seconds of an epoch.
            tell: makes an event.

        Raises:
            ValueError: one of the intervals is none.
        """
        self._intervals = list(dict.fromkeys(intervals))
        for name in self._intervals:
            interval_ms(name)
        self._series: list[BarSeries] = []  # from the first message on: by then the exchange's clock is known
        self._epoch_ms = interval_s * 1000
        self._tell = tell
        self._exact = ExactColumns()
        self._newest_ms = 0  # of all trades

    def take(self, flow: EpochFlow) -> Iterable[Batch]:
        """Adds an epoch's trades; gives the bars that are over."""
        now_ms, told_ms = flow.epoch * 1000, flow.event_ms
        if len(flow.trades):  # where no stream bears a time of its own, trades do
            told_ms = max(told_ms or 0, int(flow.trades.timestamp_ms.max()))
        if not self._series:
            if told_ms is None:
                return
            # Clocks differ; an absurd time must not begin the bars in another age.
            start_ms = max(now_ms - self._epoch_ms - _CLOCKS_MS, min(now_ms - self._epoch_ms, told_ms))
            self._series = [BarSeries(name, start_ms) for name in self._intervals]
        if flow.trades_stream in flow.in_gap:
            for series in self._series:
                series.doubt(
                    self._newest_ms, now_ms if told_ms is None else max(now_ms, min(told_ms, now_ms + _CLOCKS_MS))
                )
        if len(flow.trades):
            trades = self._exact.of(flow.trades)
            self._newest_ms = max(self._newest_ms, min(int(trades.time_ms.max()), now_ms + _CLOCKS_MS))
            for series in self._series:
                series.add(trades)
        until_ms = now_ms - DELAY_MS
        if told_ms is None or told_ms < until_ms:
            until_ms = max(told_ms or 0, until_ms - PATIENCE_MS)
        rows = [row for series in self._series for row in series.closed(until_ms, flow.epoch * SECOND_NS)]
        for row in rows:
            open_ms, name, late = row[0], row[2], row[_LATE]
            if late:
                detail = f"{late} trades of earlier {name} bars came while that of {open_ms} was open"
                self._tell(flow.epoch * SECOND_NS, "late_trades", detail)
        if rows:
            yield rows_batch("bars", COLUMNS, rows)


def _opens_of(times_ms: Ints, interval: int) -> Ints:
    shift = _shift(interval)
    return (times_ms - shift) // interval * interval + shift
