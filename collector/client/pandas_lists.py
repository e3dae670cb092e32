"""Columns of lists in a frame of pandas, without an array per row until somebody asks for that row.

A thousand diffs have four thousand lists, and to make a numpy array of each costs more than all else of a read. So a
column keeps the memory of Arrow and makes the array of a cell when the cell is read. pandas' own columns of Arrow lists
do so too, but a cell of theirs is a Python list in which a null number is None, and they do not count as numbers do.
In all else these are the same: `Series.list`, `explode`, `concat` and `to_parquet` work on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.types as kinds
from pandas.api.types import is_integer
from pandas.arrays import ArrowExtensionArray


def is_numbers(kind: pa.DataType) -> bool:
    """Whether `kind` is of lists of floating numbers, as all lists of our tables are."""
    return bool(kinds.is_list(kind)) and bool(kinds.is_floating(kind.value_type))


class NumbersDtype(pd.ArrowDtype):  # type: ignore[misc]  # pandas has no types
    """The type of a column of lists of numbers whose cells are numpy arrays."""

    @property
    def name(self) -> str:
        """As any column of arrays is called: `to_parquet` writes it down, and `read_parquet` must understand it."""
        return "object"

    @property
    def na_value(self) -> None:
        """No list at all, as in a column of objects."""
        return None

    def construct_array_type(self) -> type[ArrowExtensionArray]:
        return NumbersArray if is_numbers(self.pyarrow_dtype) else ArrowExtensionArray


class NumbersArray(ArrowExtensionArray):  # type: ignore[misc]
    """A column of lists of numbers: each cell an array of its own length, in which a null number is NaN."""

    def __init__(self, values: pa.Array | pa.ChunkedArray, dtype: NumbersDtype | None = None) -> None:
        """`dtype`, where it is known, saves the time to make it."""
        super().__init__(values)
        self._dtype = NumbersDtype(values.type) if dtype is None else dtype

    def _from_pyarrow_array(self, pa_array: pa.Array | pa.ChunkedArray) -> ArrowExtensionArray:
        # What pandas makes of lists need not be lists: their lengths, or the numbers in them.
        return NumbersDtype(pa_array.type).construct_array_type()(pa_array)

    def __getitem__(self, item: Any) -> Any:
        if not is_integer(item):
            return super().__getitem__(item)
        found = self._pa_array[int(item)].values
        return None if found is None else found.to_numpy(zero_copy_only=False)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.to_numpy(object))

    def _arith_method(self, other: Any, op: Callable[[Any, Any], Any]) -> Any:
        return op(self.to_numpy(object), other.to_numpy(object) if isinstance(other, NumbersArray) else other)

    def map(self, mapper: Callable[[Any], Any] | Mapping[Any, Any], na_action: Literal["ignore"] | None = None) -> Any:
        """As of a column of objects: what comes out of numbers is numpy's, not Arrow's."""
        return pd.Series(self.to_numpy(object)).map(mapper, na_action).array
