"""From Arrow to pandas in a fraction of the time that `Table.to_pandas` takes for a thousand rows.

Most of that time is spent on what rows of ours do not have: indexes, metadata, time zones, nested types of every kind.
What is found here is the same frame, of the same types; where it cannot be, `to_pandas` makes it.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.types as kinds

if TYPE_CHECKING:
    import pandas as pd


def to_pandas(rows: pa.Table) -> pd.DataFrame:
    """What `rows.to_pandas()` gives: a null number is NaN, text pandas' `str`; but see `pandas_lists` for lists."""
    import pandas as pd

    try:
        from pandas.api.internals import create_dataframe_from_blocks
    except ImportError:  # pandas 2, whose cells are the same: all of them arrays at once
        return rows.to_pandas()
    from collector.client.pandas_lists import NumbersArray, is_numbers

    blocks: list[tuple[Any, Any]] = []
    alike: dict[Any, list[tuple[int, Any]]] = {}
    for place, (column, kind) in enumerate(zip(rows.columns, rows.schema.types, strict=True)):
        if is_numbers(kind):
            blocks.append((NumbersArray(column), np.array([place])))
        elif kinds.is_string(kind):
            blocks.append((_text().__from_arrow__(column.cast(pa.large_string())), np.array([place])))
        elif kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind):
            values = column.to_numpy()
            alike.setdefault(values.dtype, []).append((place, values))
        else:
            return rows.to_pandas(types_mapper=_lists)
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


@cache
def _text() -> pd.StringDtype:
    import pandas as pd

    return pd.StringDtype(na_value=np.nan)


def _lists(kind: pa.DataType) -> pd.api.extensions.ExtensionDtype | None:
    from collector.client.pandas_lists import NumbersDtype, is_numbers

    return NumbersDtype(kind) if is_numbers(kind) else None
