"""Batches put end to end hold the same rows."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.core.batch import JOINED_ROWS, Batch, Fixed, Nested, joined
from collector.journal.arrow import to_arrow


def diffs(first: int, levels: list[list[int]], decimals: int) -> Batch:
    """Rows of `diffs`, whose bids are these quantities."""
    counts = np.array([len(row) for row in levels], np.int32)
    flat = np.array([value for row in levels for value in row], np.int64)
    ids = list(range(first, first + len(levels)))
    ladder = Nested(counts, Fixed(flat, decimals))
    return Batch(
        "diffs",
        {
            "first_id": ids,
            "last_id": np.array(ids, np.int64),
            "prev_id": [None] * len(ids),
            "event_time": ids,
            "recv_ns": ids,
            "connection": [1] * len(ids),
            **dict.fromkeys(("bid_price", "bid_quantity", "ask_price", "ask_quantity"), ladder),
        },
    )


def gaps(number: int) -> Batch:
    """One row of another table."""
    columns = {"gap_id": [f"gap {number}"], "revision": [1], "stream": ["depth"], "reason": ["sequence"]}
    return Batch("gaps", {**columns, "from_ns": [number], "detected_ns": [number], "healed": [False]})


LEVELS = st.lists(st.lists(st.integers(0, 10**12), max_size=3), min_size=1, max_size=4)


@settings(deadline=None)  # the first conversion imports half of pyarrow
@given(st.lists(st.one_of(st.tuples(LEVELS, st.integers(0, 3)), st.none()), max_size=12))
def test_the_rows_of_each_table_stay_in_order(parts: list[tuple[list[list[int]], int] | None]) -> None:
    batches = [gaps(at) if part is None else diffs(at * 10, *part) for at, part in enumerate(parts)]
    result = joined(batches)
    assert len(result) <= len(batches)
    for table in {batch.table for batch in batches}:
        before, after = ([one for one in several if one.table == table] for several in (batches, result))
        assert to_arrow(before).combine_chunks() == to_arrow(after).combine_chunks()


def test_many_seconds_become_few_batches_of_bounded_length() -> None:
    result = joined([diffs(at * 100, [[at]] * 100, 2) for at in range(100)])
    assert [batch.rows for batch in result] == [4000, 4000, 2000]
    assert JOINED_ROWS == 4096


def test_finer_decimals_begin_another_batch() -> None:
    result = joined([diffs(0, [[15]], 1), diffs(1, [[25]], 1), diffs(2, [[150]], 2)])
    assert [batch.rows for batch in result] == [2, 1]
