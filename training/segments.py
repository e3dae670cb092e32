"""Stretches of rows without a hole, and how they are divided into folds.

A segment is a pair [start, stop) of row numbers. Rows of one segment follow each other by one period; no window of the
training ever reaches beyond one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TOLERANCE = 0.5


class Span(NamedTuple):
    """Rows [start, stop)."""

    start: int
    stop: int


class Fold(NamedTuple):
    """Rows to fit on, to stop and calibrate by, and to be judged by; in this order in time, with a purge between."""

    train: Span
    validation: Span
    test: Span


def contiguous(time_ns: NDArray[np.int64], period_ns: int) -> NDArray[np.bool_]:
    """Whether each row follows the one before it by one period, within half a period; False for the first."""
    follows = np.empty(len(time_ns), np.bool_)
    follows[:1] = False
    follows[1:] = np.abs(np.diff(time_ns) - period_ns) <= _TOLERANCE * period_ns
    return follows


def find_segments(time_ns: NDArray[np.int64], period_ns: int) -> NDArray[np.int64]:
    """The segments of rows in ascending time, as an array (segments, 2)."""
    if not len(time_ns):
        return np.empty((0, 2), np.int64)
    starts = np.flatnonzero(~contiguous(time_ns, period_ns))
    return np.stack([starts, np.append(starts[1:], len(time_ns))], axis=1).astype(np.int64)


def clip(segments: NDArray[np.int64], rows: Span) -> NDArray[np.int64]:
    """The parts of the segments that lie in `rows`."""
    inside = np.stack([np.maximum(segments[:, 0], rows.start), np.minimum(segments[:, 1], rows.stop)], axis=1)
    return inside[inside[:, 1] > inside[:, 0]]


def labelled(segments: NDArray[np.int64], context: int, horizon: int) -> NDArray[np.int64]:
    """The rows of each segment that have `context` rows before them and `horizon` rows behind them in it."""
    inner = np.stack([segments[:, 0] + context, segments[:, 1] - horizon], axis=1)
    return inner[inner[:, 1] > inner[:, 0]]


def row_numbers(segments: NDArray[np.int64]) -> NDArray[np.int64]:
    """All rows of the segments, in order."""
    if not len(segments):
        return np.empty(0, np.int64)
    return np.concatenate([np.arange(start, stop) for start, stop in segments])


def walk_forward(rows: int, folds: int, purge: int) -> list[Fold]:
    """Expanding walk-forward folds: fold k fits on the first k + 1 of folds + 2 equal parts, the next two judge it.

    `purge` rows are left out before validation and before test. With purge ≥ R - 1 + H, R the receptive field and H the
    longest horizon, neither inputs nor labels of two parts share a row.
    """
    edges = [rows * part // (folds + 2) for part in range(folds + 3)]
    return [
        Fold(
            Span(0, edges[k + 1]),
            Span(min(edges[k + 1] + purge, edges[k + 2]), edges[k + 2]),
            Span(min(edges[k + 2] + purge, edges[k + 3]), edges[k + 3]),
        )
        for k in range(folds)
    ]
