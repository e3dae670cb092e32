"""Decimal text to exact integers, by column.

A second's worth of levels is parsed in one pass: integers in the market's own decimals are exact, order-independent
in sums, and give back the exchange's text as float64 after one correctly rounded division.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.core.batch import Fixed

Ints = NDArray[np.int64]

MAX_UNITS = 10**15
"""A float64 holds every decimal of 15 significant digits, and not every one of 16."""

_NUMBERS = re.compile(rb"(?:\d+(?:\.\d+)?,)*")
_DIGITS = b"0123456789."
_DOT, _QUOTE = b'."'
_SEPARATED = bytes.maketrans(b";", b",")
_LONG = re.compile(rb"[1-9](?:\.?\d){15,}")  # 16 digits and more, zeros at the end included
_MOST_UNITS = 10**18  # numpy makes the largest int64 of digits that do not fit into one
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
            target = 0
        if places > target:
            shorter, target = _shortened(units, places, target)
            largest //= 10 ** (places - target)
            units, places = shorter, target
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


def _shortened(units: Ints, places: int, least: int) -> tuple[Ints, int]:
    """The same numbers with the fewest decimals, not below `least`, in which all of them are whole."""
    for fewer in range(least, places):
        factor = 10 ** (places - fewer)
        shorter = units // factor  # the remainder costs numpy three times as much
        if (shorter * factor == units).all():
            return shorter, fewer
    return units, places


def parse_column(texts: Sequence[str], decimals: Decimals) -> Fixed:
    """Numbers of one kind, one text each.

    Raises:
        BadNumber: at least one of the texts is no plain decimal, or does not fit. Nothing grew.
    """
    text = ('"' + '","'.join(texts) + '",').encode() if texts else b""
    if text.translate(None, _DIGITS) != b'"",' * len(texts):
        raise BadNumber("not a plain decimal number")
    (units,) = _parse(text, len(texts), (decimals,), b",")
    assert decimals.places is not None or not texts
    return Fixed(units, decimals.places or 0)


def parse_signed(texts: Sequence[str], decimals: Decimals) -> Fixed:
    """Numbers of one kind that may be negative, one text each; as `parse_column`."""
    column = parse_column([text.removeprefix("-") for text in texts], decimals)
    signs = np.array([-1 if text.startswith("-") else 1 for text in texts], np.int64)
    return Fixed(column.units * signs, column.decimals)


def parse_levels(
    bids: Sequence[bytes], asks: Sequence[bytes], price: Decimals, quantity: Decimals
) -> tuple[Levels, Levels]:
    """JSON level lists `[["price","quantity"],…]` of several messages, all bids and all asks.

    Raises:
        BadNumber: one of the lists has another shape, or one of the numbers is no plain decimal, or does not fit.
            Neither of the decimals grew.
    """
    chunks = [*bids, *asks]
    text = b";".join([*chunks, b""])
    shape = text.translate(None, _DIGITS)
    sizes = [len(one) >> 3 for one in shape.split(b";")[:-1]]
    if shape != b"".join([_shape(size) for size in sizes]) or len(sizes) != len(chunks):
        raise BadNumber("levels are not a list of [price, quantity] texts")
    if 0 in sizes:
        text = b";".join([*(chunk for chunk, size in zip(chunks, sizes, strict=True) if size), b""])
    counts = np.array(sizes, np.int32)
    with all_or_none(price, quantity):
        prices, quantities = _parse(text, 2 * sum(sizes), (price, quantity), b",]")
    split = sum(sizes[: len(bids)])
    return (
        Levels(counts[: len(bids)], prices[:split], quantities[:split]),
        Levels(counts[len(bids) :], prices[split:], quantities[split:]),
    )


@lru_cache(maxsize=1024)
def _shape(size: int) -> bytes:
    """What a list of so many levels and a semicolon are without their digits."""
    return b"[" + b",".join([b'["",""]'] * size) + b"];"


def _parse(text: bytes, count: int, kinds: Sequence[Decimals], closings: bytes) -> list[Ints]:
    """`count` numbers that take turns in being of one of `kinds`.

    Each stands in quotes, `closings` holds what follows on those of each kind, nothing but brackets, commas and
    semicolons stands between them, and a comma or a semicolon at the end.
    """
    if count == 0:
        return [np.empty(0, np.int64) for _ in kinds]
    places = _uniform_places(text, count // len(kinds), closings)
    if places is not None:
        values = np.fromstring(text.translate(_SEPARATED, b'[]".'), np.int64, sep=",")
        if values.max() < _MOST_UNITS:
            turns = enumerate(zip(kinds, places, strict=True))
            return [kind.fit(np.ascontiguousarray(values[turn :: len(kinds)]), one) for turn, (kind, one) in turns]
    return _parse_mixed(text.translate(_SEPARATED, b'[]"'), kinds)


def _uniform_places(text: bytes, count: int, closings: bytes) -> list[int] | None:
    """The decimals of each kind, if all `count` numbers of it have equally many and digits before them; else None.

    Then dropping the points makes integers of them. Looks at all bytes at once: every point must have the same distance
    from a closing quote of its kind, and a digit before it; without points, there must be a digit at all.
    """
    data = np.frombuffer(text, np.uint8)
    points, quotes = data == _DOT, data == _QUOTE
    missing = quotes[:-1] & points[1:]
    expected = 0
    places = []
    for closing, first in zip(closings, text.split(b'"', 2 * len(closings))[1::2], strict=True):
        decimals = len(first.partition(b".")[2])
        if decimals > _MOST_DIGITS:
            return None
        if decimals:
            ends = data[decimals + 2 :] == closing
            ends &= quotes[decimals + 1 : -1]
            ends &= points[: -decimals - 2]
            if np.count_nonzero(ends) != count:
                return None
            expected += count
        else:
            missing |= quotes[:-1] & quotes[1:]
        places.append(decimals)
    return places if np.count_nonzero(points) == expected and not missing.any() else None


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
