"""The newest rows of a series in little memory, so that a simulator can run for days."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, overload

Row = TypeVar("Row")


class PackedRows(Sequence[Row]):
    """The newest `keep` rows, as integers of 64 bits side by side; a row is made when somebody asks for it.

    A trade as REST tells it takes some 700 bytes as a dict of texts, and 56 here.
    """

    def __init__(self, keep: int, width: int, make: Callable[..., Row]) -> None:
        """
        Args:
            width: integers in a row.
            make: a row of its integers.
        """
        self._keep = keep
        self._width = width
        self._make = make
        self._numbers = array("q")
        # Rows that are forgotten, and still in the array: to cut each one off would move all the others.
        self._gone = 0

    def append(self, *numbers: int) -> None:
        """Adds a row; forgets the oldest one once there are too many.

        Raises:
            ValueError: it has not `width` integers.
        """
        if len(numbers) != self._width:
            raise ValueError(f"a row here has {self._width} integers, not {len(numbers)}")
        self._numbers.extend(numbers)
        if len(self) > self._keep:
            self._gone += 1
            if self._gone * 16 > self._keep:
                del self._numbers[: self._gone * self._width]
                self._gone = 0

    def __len__(self) -> int:
        return len(self._numbers) // self._width - self._gone

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self._row(number) for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(index)
        return self._row(number)

    def __iter__(self) -> Iterator[Row]:
        return (self._row(number) for number in range(len(self)))

    def _row(self, number: int) -> Row:
        at = (self._gone + number) * self._width
        return self._make(*self._numbers[at : at + self._width])
