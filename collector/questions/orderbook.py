"""The book in price levels of one width, as table `multitick` holds it."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from collector.questions.rows import Asked, Stopped, latest_rows
from storage_backends.interface import Backend, Market


def orderbook(
    backend: Backend, market: Market, tick_size: float | None, limit: int, stopped: Stopped, end_ns: int | None = None
) -> pa.Table:
    """The last `limit` epochs in levels of `tick_size`, of the finest one stored if None; oldest first.

    Raises:
        Asked: none is stored, or not of this width; names those that are.
        GivenUp: `stopped`.
    """
    newest = latest_rows(backend, "multitick", market, 64, stopped, end_ns).rows
    ticks = sorted(set(newest["tick"].to_pylist()))
    if not ticks:
        raise Asked("no multi-tick books are stored of this market: collect with --tick-sizes")
    if tick_size is None:
        tick_size = ticks[0]
    if tick_size not in ticks:
        raise Asked(f"tick_size {tick_size:g} is not stored; there are {', '.join(f'{tick:g}' for tick in ticks)}")
    rows = latest_rows(backend, "multitick", market, limit * len(ticks), stopped, end_ns).rows
    chosen = rows.filter(pc.equal(rows["tick"], tick_size))
    return chosen.slice(max(0, chosen.num_rows - limit))
