"""How a column becomes an input of the network.

A price in quote currency is neither stationary nor exact in float32; in basis points beside the mid of its own row it
is both. What is done to a column follows from its name, is printed, stored with the data and the model, and is repeated
on every live row (`stepper`). Nothing here looks at any row but the one at hand and the one before it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RETURN: Final = "return"
"""Basis points of log-return since the row before; the target's own column."""
OFFSET: Final = "offset"
"""Basis points of log-distance from the first target in the same row; prices."""
LOG: Final = "log"
"""sign(x)·log(1 + |x|); quantities, whose tails are heavy."""
LEVEL: Final = "level"
"""As it is; everything else."""

BP: Final = 1e4
_PRICE = re.compile(r"(best_(bid|ask)|(.*_)?(price|mid|microprice|vwap))(_\d+)?")
_QUANTITY = re.compile(r"(.*_)?(quantity|buckets|notional|volume|volume_top|qty)(_\d+)?")


class Column(NamedTuple):
    """One input: its name in the source, and what is done to it."""

    name: str
    kind: str


def columns_of(names: Sequence[str], targets: Sequence[str], *, raw_level: bool = False) -> tuple[Column, ...]:
    """The treatment of each feature. `raw_level` leaves every column as it is, as the old recipe does."""
    return tuple(Column(name, LEVEL if raw_level else _kind(name, targets)) for name in names)


def _kind(name: str, targets: Sequence[str]) -> str:
    if name in targets:
        return RETURN
    bare = name.rpartition(".")[2]
    if _PRICE.fullmatch(bare):
        return OFFSET
    return LOG if _QUANTITY.fullmatch(bare) else LEVEL


def prepare(
    columns: Sequence[Column],
    targets: Sequence[str],
    values: NDArray[np.float64],
    prices: NDArray[np.float64],
    before: NDArray[np.float64],
) -> NDArray[np.float32]:
    """The inputs of some rows.

    Args:
        values: (rows, columns), as stored.
        prices: (rows, targets).
        before: (rows, targets), the prices of the row before each; NaN where that row is missing or not usable.

    Returns:
        (rows, columns); NaN where a value is missing or cannot be had, such as the logarithm of a price of 0.
    """
    kinds = _by_kind(tuple(columns), tuple(targets))
    inputs = values.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        inputs[:, kinds.returns] = BP * np.log(prices[:, kinds.targets] / before[:, kinds.targets])
        inputs[:, kinds.offsets] = BP * np.log(values[:, kinds.offsets] / prices[:, :1])
        quantities = values[:, kinds.logs]
        inputs[:, kinds.logs] = np.sign(quantities) * np.log1p(np.abs(quantities))
        return inputs.astype(np.float32)


def collapsed(names: Sequence[str]) -> str:
    """Names for people: what differs in its last number alone is one entry, as in `bid_buckets_0…39`."""
    shown: list[str] = []
    for stem, group in groupby(names, key=lambda name: re.sub(r"\d+$", "", name)):
        members = list(group)
        first, last = members[0], members[-1].removeprefix(stem)
        shown.append(first if len(members) == 1 else f"{first}…{last}")
    return ", ".join(shown)


class _Kinds(NamedTuple):
    """Which columns get which treatment; `targets` says which target each return is of."""

    returns: list[int]
    targets: list[int]
    offsets: list[int]
    logs: list[int]


@lru_cache
def _by_kind(columns: tuple[Column, ...], targets: tuple[str, ...]) -> _Kinds:
    def places(kind: str) -> list[int]:
        return [at for at, column in enumerate(columns) if column.kind == kind]

    returns = places(RETURN)
    return _Kinds(returns, [targets.index(columns[at].name) for at in returns], places(OFFSET), places(LOG))
