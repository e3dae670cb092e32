"""One UTC day of one market: what is there, what is missing, and how good it was. Read from the store alone."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from collector.audit.healing import read_remaining
from collector.core.epochs import SECOND_NS
from collector.core.gaps import Gap
from storage_backends.interface import Backend, Market

DAY_S: Final = 86_400
MINUTES: Final = 1440

NOTHING, NOT_VALID, BAD, DEGRADED, OK = range(5)
"""What a minute was, by its worst second; `NOT_VALID` where no quality was stored and the book was not valid."""

_STAGES: Final = {"book": "book_lag_ms", "journal": "journal_lag_ms", "backend": "backend_lag_ms"}
_GRADES: Final = {"ok": OK, "degraded": DEGRADED, "bad": BAD}


class Lag(msgspec.Struct):
    """From the exchange's stamp to receipt, in ms: percentiles of a minute, their median and worst over the day."""

    median_p50_ms: float | None = None
    median_p99_ms: float | None = None
    worst_p99_ms: float | None = None


class StageLag(msgspec.Struct):
    """Seconds of the day, in ms: the median, the 99th percentile and the worst."""

    median_ms: float
    p99_ms: float
    worst_ms: float


class ClockCheck(msgspec.Struct):
    """Exchange clock minus ours, in ms, over the measurements of the day; and steps of our wall clock."""

    measured: int = 0
    least_ms: float | None = None
    median_ms: float | None = None
    most_ms: float | None = None
    steps: int = 0


class AnchorCheck(msgspec.Struct):
    """Snapshots of the day, and levels of them that were compared with our book and differed."""

    snapshots: int = 0
    compared_levels: int = 0
    differing_levels: int = 0


class DayGap(msgspec.Struct):
    """All gaps of one stream and reason that touch the day; `seconds` counts what lies inside it."""

    stream: str
    reason: str
    gaps: int = 0
    healed: int = 0
    seconds: float = 0.0


class DayReport(msgspec.Struct):
    """`coverage` is the part of `expected_s` with an epoch, `valid` the part with a valid one.

    `expected_s` is the whole day, or up to now on the day that is still going on. `minutes` has a value for each minute
    of the day, see above; `prices` the last mid price and `lags` the worst 99th percentile in ms of each, None where
    there is none. `stages` are lags from receipt to `book`, `journal` and `backend`, of the oldest row of each second,
    as far as they were stored. `spans` are the gaps that are not healed: stream, and from where to where in seconds of
    the day.
    """

    exchange: str
    symbol: str
    date: str
    expected_s: int
    epochs: int
    valid_epochs: int
    interval_s: int
    coverage: float
    valid: float
    rows: dict[str, int]
    gaps: list[DayGap]
    quality_s: dict[str, int]
    reasons_s: dict[str, int]
    lag: Lag
    stages: dict[str, StageLag]
    clock: ClockCheck
    anchors: AnchorCheck
    minutes: list[int]
    prices: list[float | None]
    lags: list[float | None]
    spans: list[tuple[str, float, float]]


def day_report(backend: Backend, market: Market, date: dt.date, now_ns: int) -> DayReport:
    """What the store holds of `market` on `date` (UTC). Reads a few columns of each table, batch by batch."""
    start_s = int(dt.datetime.combine(date, dt.time(), dt.UTC).timestamp())
    expected_s = max(0, min(DAY_S, now_ns // SECOND_NS - start_s))
    start_ns, end_ns = start_s * SECOND_NS, (start_s + DAY_S) * SECOND_NS
    minutes = np.full(MINUTES, NOTHING, np.int8)

    epochs = _columns(backend, "depth", market, start_ns, end_ns, "epoch", "valid", "price")
    at = (epochs["epoch"] - start_s).astype(np.int64)
    valid = epochs["valid"].astype(bool)
    np.maximum.at(minutes, at // 60, OK)
    np.minimum.at(minutes, at[~valid] // 60, NOT_VALID)
    known = ~np.isnan(epochs["price"].astype(float))
    last = np.full(MINUTES, np.nan)
    last[at[known] // 60] = epochs["price"][known].astype(float)  # of those of one minute the last one stays
    prices = [None if np.isnan(price) else price for price in last.tolist()]
    interval_s = int(np.diff(at).min()) if len(at) > 1 else 1

    quality_s, reasons_s, lag, stages, lags = _quality(backend, market, start_s, minutes)
    until_ns = min(end_ns, max(now_ns, start_ns))
    gaps = _touching(read_remaining(backend, market, start_ns, until_ns), start_ns, until_ns)
    return DayReport(
        exchange=market.exchange,
        symbol=market.symbol,
        date=date.isoformat(),
        expected_s=expected_s,
        epochs=len(at),
        valid_epochs=int(valid.sum()),
        interval_s=interval_s,
        coverage=_share(len(at) * interval_s, expected_s),
        valid=_share(int(valid.sum()) * interval_s, expected_s),
        rows=_rows(backend, market, start_ns, end_ns),
        gaps=_gaps(gaps),
        quality_s=quality_s,
        reasons_s=reasons_s,
        lag=lag,
        stages=stages,
        clock=_clock(backend, market, start_ns, end_ns),
        anchors=_anchors(backend, market, start_ns, end_ns),
        minutes=minutes.tolist(),
        prices=prices,
        lags=lags,
        spans=[(gap.stream, from_s, to_s) for gap, from_s, to_s in gaps if not gap.healed],
    )


def _share(part: int, whole: int) -> float:
    return min(1.0, part / whole) if whole else 0.0


def _columns(
    backend: Backend, table: str, market: Market, start_ns: int, end_ns: int, *names: str
) -> dict[str, NDArray[Any]]:
    """Columns of a day as arrays; nulls of numbers are NaN."""
    found: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    for batch in backend.scan(table, market, start_ns, end_ns, names):
        for name in names:
            found[name].append(batch.column(name).to_numpy(zero_copy_only=False))
    return {name: np.concatenate(parts) if parts else np.empty(0) for name, parts in found.items()}


def _rows(backend: Backend, market: Market, start_ns: int, end_ns: int) -> dict[str, int]:
    counts: dict[str, int] = {}
    for table in backend.tables(market):
        count = sum(batch.num_rows for batch in backend.scan(table, market, start_ns, end_ns, ()))
        if count:
            counts[table] = count
    return counts


def _quality(
    backend: Backend, market: Market, start_s: int, minutes: NDArray[np.int8]
) -> tuple[dict[str, int], dict[str, int], Lag, dict[str, StageLag], list[float | None]]:
    """Seconds by grade and by reason, the lag, those of the stages, and its 99th percentile by minute.

    Sets the `minutes` that have any quality.
    """
    names = ("epoch", "grade", "reasons", "lag_p50_ms", "lag_p99_ms", *_STAGES.values())
    start_ns = start_s * SECOND_NS
    rows = _columns(backend, "quality", market, start_ns, start_ns + DAY_S * SECOND_NS, *names)
    grades, grade_at = _counted(rows["grade"])
    reasons: Counter[str] = Counter()
    for text, seconds in _counted(rows["reasons"])[0].items():
        reasons.update(dict.fromkeys(text.split(), seconds))
    at = (rows["epoch"] - start_s).astype(np.int64) // 60
    minutes[at] = OK
    np.minimum.at(minutes, at, np.array([_GRADES[grade] for grade in grades], np.int8)[grade_at])
    p50, p99 = rows["lag_p50_ms"].astype(float), rows["lag_p99_ms"].astype(float)
    known = ~np.isnan(p99)
    worst = np.full(MINUTES, -np.inf)
    np.maximum.at(worst, at[known], p99[known])
    lag = Lag()
    if known.any():
        lag = Lag(float(np.median(p50[known])), float(np.median(p99[known])), float(p99[known].max()))
    stages = {}
    for stage, name in _STAGES.items():
        ms = rows[name].astype(float)
        ms = ms[~np.isnan(ms)]
        if len(ms):
            stages[stage] = StageLag(float(np.median(ms)), float(np.percentile(ms, 99)), float(ms.max()))
    by_minute = [None if np.isinf(one) else one for one in worst.tolist()]
    return grades, dict(reasons.most_common()), lag, stages, by_minute


def _counted(texts: NDArray[Any]) -> tuple[dict[str, int], NDArray[np.int64]]:
    """How often each of a few texts is there, in the order of their first, and at each place which one stands."""
    coded = pa.array(texts.astype(object), pa.string()).dictionary_encode()
    at = coded.indices.to_numpy().astype(np.int64)
    counts = np.bincount(at, minlength=len(coded.dictionary)).tolist()
    return dict(zip(coded.dictionary.to_pylist(), counts, strict=True)), at


def _touching(gaps: list[Gap], start_ns: int, end_ns: int) -> list[tuple[Gap, float, float]]:
    """Gaps that touch the day and miss something, with their part of it in seconds from its start."""
    found = []
    for gap in gaps:
        to_ns = end_ns if gap.to_ns is None else gap.to_ns
        nothing_missing = gap.from_id is not None and gap.to_id is not None and gap.to_id < gap.from_id
        if gap.from_ns < end_ns and to_ns >= start_ns and not nothing_missing:
            from_s = (max(gap.from_ns, start_ns) - start_ns) / SECOND_NS
            found.append((gap, from_s, max(from_s, (min(to_ns, end_ns) - start_ns) / SECOND_NS)))
    return found


def _gaps(gaps: list[tuple[Gap, float, float]]) -> list[DayGap]:
    found: dict[tuple[str, str], DayGap] = {}
    for gap, from_s, to_s in gaps:
        one = found.setdefault((gap.stream, gap.reason), DayGap(gap.stream, gap.reason))
        one.gaps += 1
        one.healed += gap.healed
        one.seconds += to_s - from_s
    return sorted(found.values(), key=lambda one: (-one.seconds, one.stream, one.reason))


def _clock(backend: Backend, market: Market, start_ns: int, end_ns: int) -> ClockCheck:
    rows = _columns(backend, "clock", market, start_ns, end_ns, "kind", "offset_ns")
    measured = rows["offset_ns"][rows["kind"] == "offset"].astype(float) / 1e6
    steps = int((rows["kind"] == "step").sum())
    if not len(measured):
        return ClockCheck(steps=steps)
    return ClockCheck(len(measured), float(measured.min()), float(np.median(measured)), float(measured.max()), steps)


def _anchors(backend: Backend, market: Market, start_ns: int, end_ns: int) -> AnchorCheck:
    rows = _columns(backend, "snapshots", market, start_ns, end_ns, "compared_levels", "differing_levels")
    compared, differing = rows["compared_levels"].astype(float), rows["differing_levels"].astype(float)
    return AnchorCheck(len(compared), int(np.nansum(compared)), int(np.nansum(differing)))
