"""A made-up market, epoch by epoch, in which everything moves: input for all features, with its raw columns kept."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from collector.core.book import Book
from collector.core.features.catalog import REGISTRY
from collector.core.features.engine import FeatureEngine
from collector.core.features.registry import choose
from collector.core.flow import EpochFlow, Liquidations, Mark, Quotes, Trades
from collector.core.side import Side

NS = 1_000_000_000
BASE = 1_790_000_000 // 14_400 * 14_400
"""An epoch at which bars of every length begin."""

STREAMS = ("depth", "trades", "book_ticker", "mark_price", "liquidations")
PRICE_PLACES, QUANTITY_PLACES = 1, 3


def book(bids: Sequence[tuple[float, float]], asks: Sequence[tuple[float, float]], **known: int) -> Book:
    """A book of levels [price, quantity], best first; known whole unless told."""

    def side(levels: Iterable[tuple[float, float]]) -> Side:
        ordered = sorted(levels)
        return Side(
            np.array([round(p * 10**PRICE_PLACES) for p, _ in ordered], np.int64),
            np.array([round(q * 10**QUANTITY_PLACES) for _, q in ordered], np.int64),
        )

    floor, ceiling = known.get("floor", 0), known.get("ceiling", 2**62)
    return Book(side(bids), side(asks), floor, ceiling, 1, PRICE_PLACES, QUANTITY_PLACES)


def trades(epoch: int, rows: Sequence[tuple[float, float, bool]] = ()) -> Trades:
    """Trades [price, quantity, is_buyer_maker] of the second before `epoch`."""
    stamps = np.array([epoch * NS - NS + 1 + i * 1000 for i in range(len(rows))], np.int64)
    ids = np.arange(len(rows), dtype=np.int64)
    price, quantity, maker = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    return Trades(
        stamps,
        stamps // 1_000_000,
        np.array(price, float),
        np.array(quantity, float),
        np.array(maker, bool),
        ids,
        ids,
        ids,
    )


def quotes(epoch: int, rows: Sequence[tuple[float, float, float, float]] = (), first_id: int = 1) -> Quotes:
    """Best quotes [bid, quantity, ask, quantity] of the second before `epoch`."""
    columns = [np.array(column, float) for column in zip(*rows, strict=True)] if rows else [np.empty(0)] * 4
    stamps = np.array([epoch * NS - NS + 1 + i * 1000 for i in range(len(rows))], np.int64)
    return Quotes(stamps, np.arange(first_id, first_id + len(rows), dtype=np.int64), *columns)


def liquidations(epoch: int, rows: Sequence[tuple[bool, float, float]] = ()) -> Liquidations:
    """Forced orders [is sell, price, quantity] of the second before `epoch`."""
    stamps = np.array([epoch * NS - NS + 1 + i * 1000 for i in range(len(rows))], np.int64)
    sells, price, quantity = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    return Liquidations(
        stamps, stamps // 1_000_000, np.array(sells, bool), np.array(price, float), np.array(quantity, float)
    )


def flow(epoch: int, **parts: object) -> EpochFlow:
    """An epoch in which nothing happened but `parts`; valid if it has a book."""
    base = EpochFlow(
        epoch, None, None, "book" in parts, None, trades(epoch), quotes(epoch), None, liquidations(epoch), frozenset()
    )
    return replace(base, **parts)  # type: ignore[arg-type]


class World:
    """Random epochs from `BASE + 2 * interval_s` on, so that every bar has just begun when they start."""

    def __init__(self, seed: int, interval_s: int = 1) -> None:
        self.chance = random.Random(seed)
        self.interval_s = interval_s
        self.epoch = BASE + interval_s
        self._mid = 600_000  # in price units
        self._quote_id = 0

    def flows(self, count: int) -> list[EpochFlow]:
        return [self.next() for _ in range(count)]

    def next(self) -> EpochFlow:
        chance, epoch = self.chance, self.epoch + self.interval_s
        self.epoch = epoch
        self._mid += chance.choice([-12, -3, -1, 0, 0, 1, 3, 12])
        wide = chance.choice([1, 1, 1, 3])

        def levels(sign: int) -> list[tuple[float, float]]:
            at, made = self._mid + (wide if sign > 0 else 0), []
            for _ in range(30):
                made.append((at / 10, chance.randint(1, 5000) / 1000))
                at += sign * chance.choice([1, 1, 2, 5])
            return made

        def price() -> float:
            return (self._mid + chance.randint(-4, 4)) / 10

        bids, asks = levels(-1), levels(1)
        made = [(price(), chance.randint(1, 3000) / 1000, chance.random() < 0.5) for _ in range(chance.randint(1, 7))]
        best = []
        for _ in range(chance.randint(1, 6)):
            bid = self._mid + chance.randint(-2, 1)
            best.append((bid / 10, chance.randint(1, 99) / 10, (bid + 1) / 10, chance.randint(1, 99) / 10))
        forced = [(chance.random() < 0.5, price(), chance.randint(1, 50) / 10) for _ in range(chance.choice([0, 1, 2]))]
        if self._quote_id == 0:
            forced = [(True, price(), 1.0), (False, price(), 2.0)]
        mark = Mark(epoch * NS - 1, epoch * 1000 - 1, self._mid / 10 + 0.5, self._mid / 10 - 0.5, None, 0.0001, 2**41)
        first = self._quote_id + 1
        self._quote_id += len(best)
        return flow(
            epoch,
            book=book(bids, asks),
            book_recv_ns=epoch * NS - 1,
            trades=trades(epoch, made),
            quotes=quotes(epoch, best, first),
            mark=mark,
            liquidations=liquidations(epoch, forced),
        )


def engine(names: Sequence[str] = ("all",), interval_s: int = 1, streams: Sequence[str] = STREAMS) -> FeatureEngine:
    return FeatureEngine(choose(REGISTRY, names), interval_s, streams)


def series(flows: Iterable[EpochFlow], *names: str, interval_s: int = 1) -> list[list[float | None]]:
    """The values of the named features, one list each."""
    made = engine(names, interval_s)
    rows = [dict(zip(made.names, made.values(one), strict=True)) for one in flows]
    assert made.failure is None, made.failure
    return [[row[name] for row in rows] for name in names]
