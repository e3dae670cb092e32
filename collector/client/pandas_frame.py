"""From Arrow to pandas in a fraction of the time that `Table.to_pandas` takes for a thousand rows.

Most of that time is spent on what rows of ours do not have: indexes, metadata, time zones, nested types of every kind.
What is found here is the same frame, of the same types; where it cannot be, `to_pandas` makes it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.types as kinds

if TYPE_CHECKING:
    import pandas as pd


def to_pandas(rows: pa.Table) -> pd.DataFrame:
    """What `rows.to_pandas()` gives: a null number is NaN, a list a read-only array of numpy."""
    import pandas as pd

    try:
        from pandas.api.internals import create_dataframe_from_blocks
    except ImportError:  # pandas 2
        return rows.to_pandas()
    batches = rows.to_batches()
    if len(batches) != 1:
        return rows.to_pandas()
    blocks: list[tuple[Any, Any]] = []
    alike: dict[Any, list[tuple[int, Any]]] = {}
    for place, (array, kind) in enumerate(zip(batches[0].columns, rows.schema.types, strict=True)):
        if kinds.is_string(kind):
            blocks.append((pd.StringDtype(na_value=np.nan).__from_arrow__(array), np.array([place])))
        elif kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind) or _is_list(kind):
            values = _lists(array) if _is_list(kind) else array.to_numpy(zero_copy_only=False)
            alike.setdefault(values.dtype, []).append((place, values))
        else:
            return rows.to_pandas()
    for dtype, columns in alike.items():
        block = np.empty((len(columns), rows.num_rows), dtype)
        for at, (_, values) in enumerate(columns):
            block[at] = values
        blocks.append((block, np.array([place for place, _ in columns])))
    # A view of the names, since a frame may give its columns a name.
    return create_dataframe_from_blocks(blocks, pd.RangeIndex(rows.num_rows), _columns(*rows.schema.names).view())


@lru_cache(maxsize=64)
def _columns(*names: str) -> pd.Index[str]:
    import pandas as pd

    return pd.Index(names)


def _is_list(kind: pa.DataType) -> bool:
    return bool(kinds.is_list(kind)) and bool(kinds.is_floating(kind.value_type))


def _lists(array: pa.Array) -> np.ndarray[Any, Any]:
    """An array of arrays."""
    offsets = array.offsets.to_numpy()
    first, length = int(offsets[0]), int(offsets[1] - offsets[0])
    if not length or array.null_count or not (np.diff(offsets) == length).all():
        found: np.ndarray[Any, Any] = array.to_numpy(zero_copy_only=False)
        return found
    # As with buckets, of which each row has as many: rows of a matrix are made in half the time of slices.
    values = array.values.to_numpy(zero_copy_only=False)[first : first + length * len(array)]
    return np.fromiter(values.reshape(len(array), length), object, len(array))
