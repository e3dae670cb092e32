"""Decimal text to exact integers, by column.

A second's worth of levels is parsed in one pass: integers in the market's own decimals are exact, order-independent
in sums, and give back the exchange's text as float64 after one correctly rounded division.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.core.batch import Fixed

Ints = NDArray[np.int64]

MAX_UNITS = 10**15
"""A float64 holds every decimal of 15 significant digits, and not every one of 16."""

_NUMBERS = re.compile(rb"(?:\d+(?:\.\d+)?,)*")
_DIGITS = b"0123456789."
_DOT, _COMMA = 46, 44
_LONG = re.compile(rb"[1-9](?:\.?\d){15,}")  # 16 digits and more, zeros at the end included
_WIDEST = 18  # digits that always fit into an int64
_MOST_DIGITS = 15


class BadNumber(ValueError):
    """A text that is not a plain non-negative decimal of at most 15 significant digits, or levels of another shape."""


class Levels(NamedTuple):
    """Level lists of several messages, one after the other: message i owns `counts[i]` of the levels."""

    counts: NDArray[np.int32]
    price: Ints
    quantity: Ints


class Decimals:
    """Decimals in use for one kind of number of one market. They only grow: when a finer number comes.

    What is in use, and so what still fits, follows from the set of numbers seen alone: not from their order, their
    padding, or how they were grouped into calls.
    """

    __slots__ = ("largest", "places")

    def __init__(self) -> None:
        self.places: int | None = None
        self.largest = 0

    def fit(self, units: Ints, places: int) -> Ints:
        """`units` of 10**-places in units of 10**-self.places, after growing `self.places` where that would round.

        Raises:
            BadNumber: these numbers, or those seen before, would need more than 15 significant digits. Nothing grew.
        """
        largest = int(units.max()) if len(units) else 0
        target = self.places
        if target is None:
            target = _fewest(units, places, 0)
        elif places > target:
            target = _fewest(units, places, target)
        if places > target:
            units = units // 10 ** (places - target)
            largest //= 10 ** (places - target)
        else:
            largest *= 10 ** (target - places)
        largest = max(largest, self.largest * 10 ** (target - (self.places or 0)))
        if largest >= MAX_UNITS or target > _MOST_DIGITS:
            raise BadNumber(f"more than 15 significant digits at {target} decimals")
        if places < target:
            units = units * 10 ** (target - places)
        self.places, self.largest = target, largest
        return units


@contextmanager
def all_or_none(*kinds: Decimals) -> Iterator[None]:
    """Undoes what grew inside when a number turns out to be bad."""
    before = [(kind.places, kind.largest) for kind in kinds]
    try:
        yield
    except BadNumber:
        for kind, (places, largest) in zip(kinds, before, strict=True):
            kind.places, kind.largest = places, largest
        raise


def _fewest(units: Ints, places: int, least: int) -> int:
    """The smallest number of decimals, not below `least`, in which all `units` of 10**-places are whole."""
    for fewer in range(least, places):
        if not (units % 10 ** (places - fewer)).any():
            return fewer
    return places


def parse_column(texts: Sequence[str], decimals: Decimals) -> Fixed:
    """Numbers of one kind, one text each.

    Raises:
        BadNumber: at least one of the texts is no plain decimal, or does not fit. Nothing grew.
    """
    joined = (",".join(texts) + ",").encode() if texts else b""
    if joined.translate(None, _DIGITS + b","):
        raise BadNumber("not a plain decimal number")
    (units,) = _parse(joined, len(texts), (decimals,))
    assert decimals.places is not None or not texts
    return Fixed(units, decimals.places or 0)


def parse_levels(
    bids: Sequence[bytes], asks: Sequence[bytes], price: Decimals, quantity: Decimals
) -> tuple[Levels, Levels]:
    """JSON level lists `[["price","quantity"],…]` of several messages, all bids and all asks.

    Raises:
        BadNumber: one of the lists has another shape, or one of the numbers is no plain decimal, or does not fit.
            Neither of the decimals grew.
    """
    chunks = [*bids, *asks]
    shapes = b";".join(chunks).translate(None, _DIGITS).split(b";")
    counts = np.fromiter((_count(shape) for shape in shapes), np.int32, len(chunks))
    total = int(counts.sum())
    joined = b",".join([chunk for chunk, count in zip(chunks, counts.tolist(), strict=True) if count])
    text = joined.translate(None, b'[]"') + b"," if total else b""
    with all_or_none(price, quantity):
        prices, quantities = _parse(text, 2 * total, (price, quantity))
    split = int(counts[: len(bids)].sum())
    return (
        Levels(counts[: len(bids)], prices[:split], quantities[:split]),
        Levels(counts[len(bids) :], prices[split:], quantities[split:]),
    )


_SHAPES: dict[int, bytes] = {}


def _count(shape: bytes) -> int:
    """How many levels a list holds, from its text without digits; each level leaves `["",""]`."""
    count = len(shape) >> 3
    expected = _SHAPES.get(count)
    if expected is None:
        expected = b"[" + b",".join([b'["",""]'] * count) + b"]"
        if count <= 5000:
            _SHAPES[count] = expected
    if shape != expected:
        raise BadNumber("levels are not a list of [price, quantity] texts")
    return count


def _parse(joined: bytes, count: int, kinds: Iterable[Decimals]) -> list[Ints]:
    """`count` numbers, each followed by a comma, that take turns in being of one of `kinds`.

    `joined` holds nothing but digits, dots and commas.
    """
    kinds = tuple(kinds)
    turns = len(kinds)
    if count == 0:
        return [np.empty(0, np.int64) for _ in kinds]
    text = np.frombuffer(joined, np.uint8)
    ends = np.flatnonzero(text == _COMMA)
    if len(ends) != count:
        raise BadNumber("not a plain decimal number")
    widths = np.empty(count, np.int64)
    widths[0] = ends[0]
    np.subtract(ends[1:], ends[:-1] + 1, out=widths[1:])
    places: list[int] = []
    dots = 0
    uniform = int(widths.max()) <= _WIDEST
    for turn in range(turns):
        first = joined[ends[turn] - widths[turn] : ends[turn]]
        decimals = len(first) - first.index(b".") - 1 if b"." in first else 0
        places.append(decimals)
        if decimals:
            dots += count // turns
            uniform = uniform and int(widths[turn::turns].min()) >= decimals + 2
            uniform = uniform and bool((text[ends[turn::turns] - decimals - 1] == _DOT).all())
        else:
            uniform = uniform and int(widths[turn::turns].min()) >= 1
    if uniform and joined.count(b".") == dots:
        values = np.fromstring(joined.replace(b".", b""), np.int64, sep=",")
        return [kind.fit(np.ascontiguousarray(values[turn::turns]), places[turn]) for turn, kind in enumerate(kinds)]
    return _parse_mixed(joined, kinds)


def _parse_mixed(joined: bytes, kinds: Sequence[Decimals]) -> list[Ints]:
    """Numbers whose decimals differ, or that are padded beyond 18 digits: through float64, checked to be exact."""
    if not _NUMBERS.fullmatch(joined):
        raise BadNumber("not a plain decimal number")
    if any(len(long.replace(b".", b"").rstrip(b"0")) > _MOST_DIGITS for long in _LONG.findall(joined)):
        raise BadNumber("more than 15 significant digits")
    values = np.fromstring(joined, np.float64, sep=",")
    return [units_of(values[turn :: len(kinds)], kind) for turn, kind in enumerate(kinds)]


def units_of(values: NDArray[np.float64], decimals: Decimals) -> Ints:
    """The exact integers that float64 prices or quantities stand for, in the decimals in use.

    The decimals grow as far as these values need.

    Raises:
        BadNumber: a value is negative, not finite, or has more than 15 significant digits.
    """
    if not len(values):
        return np.empty(0, np.int64)
    if not np.isfinite(values).all() or values.min() < 0:
        raise BadNumber("a number is negative or not finite")
    for places in range(decimals.places or 0, 16):
        units = np.rint(values * 10.0**places)
        if units.max() >= MAX_UNITS:
            break
        if (units / 10.0**places == values).all():
            return decimals.fit(units.astype(np.int64), places)
    raise BadNumber("more than 15 significant digits")
