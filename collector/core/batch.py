"""Rows on their way out of the core, by column.

A batch is what one market added to one table since it was last drained. Columns keep the form in which the core
worked: integers with their decimals, nested lists as counts and flat values. Nothing is copied or rounded before a
backend asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Fixed:
    """Exact decimals: value = units / 10**decimals, which is the float64 that the exchange's text parses to."""

    units: NDArray[np.int64]
    decimals: int

    def __len__(self) -> int:
        return len(self.units)

    def floats(self) -> NDArray[np.float64]:
        """The values as float64; correctly rounded, since both operands are exact below 2**53 and 10**22."""
        return self.units / float(10**self.decimals)


@dataclass(frozen=True, slots=True)
class Nested:
    """A list in each row. `counts` has one length a row; -1 stands for a null list."""

    counts: NDArray[np.int32]
    values: Fixed | NDArray[Any]

    def __len__(self) -> int:
        return len(self.counts)


Column: TypeAlias = list[Any] | NDArray[Any] | Fixed | Nested
"""Plain lists may hold None (null); arrays may not."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one table and one market; every column has `rows` entries. NaN inside `Nested` float values is null."""

    table: str
    columns: dict[str, Column]

    @property
    def rows(self) -> int:
        return len(next(iter(self.columns.values())))
