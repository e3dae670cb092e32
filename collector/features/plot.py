"""Price, depth and features of one market on one time axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.core.features.catalog import REGISTRY
from collector.errors import ConfigurationError
from collector.times import show_ns
from storage_backends.interface import Backend, Market

_DEPTH = ("epoch", "price", "best_bid", "best_ask", "bid_buckets", "ask_buckets", "valid")


def draw(backend: Backend, market: Market, names: Sequence[str], start_ns: int, end_ns: int, path: Path) -> int:
    """Draws what is stored in [start_ns, end_ns) to a .png or .svg; gives the number of epochs.

    Lines break where a value is null and where epochs are missing; epochs that are not valid are shaded.

    Raises:
        ConfigurationError: nothing is stored there, matplotlib is missing, or the file cannot be written.
    """
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        import matplotlib.dates as mdates
        import matplotlib.pyplot as plt
    except ModuleNotFoundError as error:
        raise ConfigurationError("features plot", "needs matplotlib", "pip install 'depth-collector[plot]'") from error
    depth = _read(backend, "depth", market, start_ns, end_ns, _DEPTH)
    features = _read(backend, "features", market, start_ns, end_ns, ("epoch", "feature_set", *names))
    if not depth:
        raise ConfigurationError("--from", show_ns(start_ns), "nothing of this market is stored from there to --to")
    epochs = np.array([row["epoch"] for row in depth], np.int64)
    times = [datetime.fromtimestamp(int(epoch), UTC) for epoch in _grid(epochs)]
    figure, panels = plt.subplots(
        2 + len(names), 1, sharex=True, figsize=(12, 2.2 * (2 + len(names))), layout="constrained", squeeze=False
    )
    axes = panels[:, 0]
    for name, label in (("best_ask", "best ask"), ("best_bid", "best bid")):
        axes[0].plot(times, spread_out(epochs, depth, name), linewidth=0.9, label=label)
    axes[0].set_title("price, quote currency", loc="left", fontsize=9)
    axes[0].legend(loc="upper left", fontsize=8)
    axes[0].ticklabel_format(axis="y", useOffset=False)
    for name, sign, label in (("ask_buckets", 1, "asks"), ("bid_buckets", -1, "bids")):
        sums = [{"epoch": row["epoch"], "sum": _sum(row[name])} for row in depth]
        held = sign * spread_out(epochs, sums, "sum") / 1e6
        axes[1].fill_between(times, 0, held, linewidth=0, alpha=0.6, label=label)
    axes[1].axhline(0, color="black", linewidth=0.5)
    axes[1].set_title("depth in all buckets, million quote currency; bids downward", loc="left", fontsize=9)
    axes[1].legend(loc="upper left", fontsize=8)
    for axis, name in zip(axes[2:], names, strict=True):
        axis.plot(times, spread_out(epochs, features, name), linewidth=0.9, marker=".", markersize=1.5)
        axis.set_title(f"{name}, {REGISTRY[name].unit}", loc="left", fontsize=9)
    invalid = spread_out(epochs, [{"epoch": row["epoch"], "valid": float(row["valid"])} for row in depth], "valid") != 1
    half = timedelta(seconds=_interval(epochs) / 2)
    for axis in axes:
        for first, last in runs(invalid):
            axis.axvspan(times[first] - half, times[last] + half, color="grey", alpha=0.25, linewidth=0)
        axis.grid(alpha=0.3)
    dates: Any = mdates
    axes[-1].xaxis.set_major_formatter(dates.ConciseDateFormatter(dates.AutoDateLocator(tz=UTC), tz=UTC))
    sets = sorted({row["feature_set"] for row in features})
    figure.suptitle(
        f"{market.exchange} {market.symbol}, UTC; {', '.join(sets) or 'no features stored'}; grey: not valid"
    )
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise ConfigurationError("--out", path, f"cannot be written: {error.strerror}") from error
    finally:
        plt.close(figure)
    return len(depth)


def _read(
    backend: Backend, table: str, market: Market, start_ns: int, end_ns: int, columns: Sequence[str]
) -> list[dict[str, Any]]:
    return [row for rows in backend.scan(table, market, start_ns, end_ns, columns) for row in rows.to_pylist()]


def _interval(epochs: NDArray[np.int64]) -> int:
    return int(np.diff(epochs).min()) if len(epochs) > 1 else 1


def _grid(epochs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every epoch from the first to the last, stored or not."""
    step = _interval(epochs)
    return np.arange(epochs[0], epochs[-1] + step, step)


def spread_out(epochs: NDArray[np.int64], rows: Sequence[dict[str, Any]], name: str) -> NDArray[np.float64]:
    """A column on the grid of `epochs`; NaN where there is no row or no value."""
    step = _interval(epochs)
    values = np.full(len(_grid(epochs)), np.nan)
    for row in rows:
        at, rest = divmod(row["epoch"] - int(epochs[0]), step)
        if row[name] is not None and not rest and 0 <= at < len(values):
            values[at] = row[name]
    return values


def runs(flags: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """First and last place of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False]))))
    yield from ((int(first), int(after) - 1) for first, after in edges.reshape(-1, 2))


def _sum(buckets: list[float | None] | None) -> float | None:
    return None if buckets is None else sum(value for value in buckets if value is not None)
