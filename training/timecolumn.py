"""The time column of a table: which one it is, its unit, and the period of the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa
    from numpy.typing import NDArray

USUAL: Final = ("timestamp", "time", "epoch", "time_ns", "datetime", "date", "event_time", "recv_ns", "ts", "time_ms")
_LEAST_REGULAR = 0.5


def find(schema: pa.Schema, wanted: str | None) -> str:
    """The name of the time column: `wanted`, or the first usual name that is there.

    Raises:
        TrainingError: there is none.
    """
    if wanted is not None:
        if wanted not in schema.names:
            raise TrainingError(f"--time-column {wanted}: is not in the file, which has {', '.join(schema.names)}")
        return wanted
    for name in USUAL:
        if name in schema.names:
            return name
    raise TrainingError(f"no time column found among {', '.join(schema.names)}; name it with --time-column")


def to_ns(column: pa.Array | pa.ChunkedArray, name: str) -> NDArray[np.int64]:
    """Times as ns since the Unix epoch. A number's unit follows from its size: s, ms, µs or ns of a time after 1973.

    Raises:
        TrainingError: neither a timestamp nor such a number, or a time is missing.
    """
    import pyarrow as pa

    if column.null_count:
        raise TrainingError(f"--time-column {name}: {column.null_count:,} rows have no time; fill or remove them")
    if pa.types.is_timestamp(column.type):
        times: NDArray[np.int64] = column.cast(pa.timestamp("ns", column.type.tz)).cast(pa.int64()).to_numpy()
        return times
    if pa.types.is_integer(column.type):
        whole: NDArray[np.int64] = column.cast(pa.int64()).to_numpy()
        return whole * _factor(int(whole[0]), name) if len(whole) else whole
    if pa.types.is_floating(column.type):
        numbers: NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
        if not len(numbers):
            return np.empty(0, np.int64)
        if not np.isfinite(numbers).all():
            raise TrainingError(f"--time-column {name}: holds times that are not finite; fill or remove them")
        # A float64 holds microseconds of our age and no nanoseconds.
        return np.round(numbers * (_factor(int(numbers[0]), name) / 1000)).astype(np.int64) * 1000
    raise TrainingError(f"--time-column {name}: is {column.type}; wanted is a timestamp, or s, ms, µs or ns as number")


def _factor(sample: int, name: str) -> int:
    for factor in (1_000_000_000, 1_000_000, 1_000, 1):
        if 10**17 <= sample * factor < 10**19:
            return factor
    raise TrainingError(f"--time-column {name}: {sample} is no time in s, ms, µs or ns since 1970")


def find_period(batches: Iterable[NDArray[np.int64]], rows: int = 200_000) -> int:
    """The period in ns: the median step between the first `rows` rows.

    Raises:
        TrainingError: fewer than two rows, or no regular steps.
    """
    times: list[NDArray[np.int64]] = []
    seen = 0
    for batch in batches:
        times.append(batch)
        seen += len(batch)
        if seen >= rows:
            break
    if seen < 2:
        raise TrainingError(f"only {seen} rows: nothing to learn from")
    steps = np.diff(np.concatenate(times))
    period_ns = int(np.median(steps))
    regular = float(np.mean(np.abs(steps - period_ns) <= 0.5 * period_ns)) if period_ns > 0 else 0.0
    if regular < _LEAST_REGULAR:
        raise TrainingError(
            f"rows have no common period: {regular:.0%} of the steps are near the median of {period_ns / 1e6:g} ms; "
            "put them on a time grid first, or name the period with --period-ms"
        )
    return period_ns
