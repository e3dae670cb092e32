"""From Arrow to pandas in a fraction of the time that `Table.to_pandas` takes for a thousand rows.

Most of that time is spent on what rows of ours do not have: indexes, metadata, time zones, nested types of every kind.
What is found here is the same frame, of the same types; where it cannot be, `to_pandas` makes it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

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
    from collector.client.pandas_lists import NumbersArray

    plan = _plan(rows.schema)
    if plan.numbers is None:
        return rows.to_pandas(types_mapper=_lists)
    columns = rows.columns
    blocks: list[tuple[Any, Any]] = [(NumbersArray(columns[at], dtype), places) for at, places, dtype in plan.lists]
    blocks += ((_text().__from_arrow__(columns[at].cast(pa.large_string())), places) for at, places in plan.texts)
    alike: dict[Any, list[tuple[int, Any]]] = {}
    for place in plan.numbers:
        values = columns[place].to_numpy()
        alike.setdefault(values.dtype, []).append((place, values))
    for dtype, columns in alike.items():
        block = np.empty((len(columns), rows.num_rows), dtype)
        for at, (_, values) in enumerate(columns):
            block[at] = values
        blocks.append((block, np.array([place for place, _ in columns])))
    # A view of the names, since a frame may give its columns a name.
    return create_dataframe_from_blocks(blocks, pd.RangeIndex(rows.num_rows), plan.columns.view())


class _Plan(NamedTuple):
    """Which columns are of which kind; with their places as pandas wants them, where each is a block of its own.

    No numbers at all where a column is of a type that has no quick way.
    """

    schema: pa.Schema
    columns: pd.Index[str]
    lists: list[tuple[int, Any, Any]]
    texts: list[tuple[int, Any]]
    numbers: list[int] | None


_plans: list[_Plan] = []
_PLANS: Final = 64


def _plan(schema: pa.Schema) -> _Plan:
    """Found by comparing: a schema's hash, its names or its types each take longer than that in Arrow's Python."""
    for plan in _plans:
        if plan.schema.equals(schema):
            return plan
    made = _made(schema)
    del _plans[_PLANS - 1 :]
    _plans.insert(0, made)
    return made


def _made(schema: pa.Schema) -> _Plan:
    import pandas as pd

    from collector.client.pandas_lists import NumbersDtype, is_numbers

    lists, texts, numbers, other = [], [], [], False
    for place, kind in enumerate(schema.types):
        if is_numbers(kind):
            lists.append((place, np.array([place]), NumbersDtype(kind)))
        elif kinds.is_string(kind):
            texts.append((place, np.array([place])))
        elif kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind):
            numbers.append(place)
        else:
            other = True
    return _Plan(schema, pd.Index(schema.names), lists, texts, None if other else numbers)


@cache
def _text() -> pd.StringDtype:
    import pandas as pd

    return pd.StringDtype(na_value=np.nan)


def _lists(kind: pa.DataType) -> pd.api.extensions.ExtensionDtype | None:
    from collector.client.pandas_lists import NumbersDtype, is_numbers

    return NumbersDtype(kind) if is_numbers(kind) else None
