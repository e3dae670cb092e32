"""What a run knows at this second, for whoever shows it: one object, in one small file that is replaced each second.

HTTP, terminal, health checks and metrics read the file, in processes of their own, so that no reader can hold up the
collection, and a reader that dies is nobody's loss. The file is `DATA_DIR/live/state.json`. It is not synced: after a
crash nothing of it is needed.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Final

import msgspec

STATE_FILE: Final = Path("live") / "state.json"
"""Within the data folder."""

FRESH_S: Final = 5.0
"""A state that is older than this tells of a run that stands still or has ended."""


class Histogram(msgspec.Struct):
    """Lags since the start: `counts` by the bounds of `core.latency.BOUNDS_MS`, one more for what lies above."""

    counts: list[int]
    sum_ms: float


class RestWeight(msgspec.Struct):
    """Request weight of this minute, what the exchange allows, and how long it still wants to hear nothing, in s."""

    used: int
    limit: int
    pause_s: float


class MarketState(msgspec.Struct):
    """One market. Prices in quote currency; bucket values too, null beyond the known book. Lags in ms of a minute.

    `gaps` counts those stated since the run began, by stream and reason.
    """

    exchange: str
    symbol: str
    name: str
    grade: str
    reasons: list[str]
    epoch: int | None
    best_bid: float | None
    best_ask: float | None
    bid_buckets: list[float | None] | None
    ask_buckets: list[float | None] | None
    step: float
    valid: bool
    connected: list[str]
    down: list[str]
    open_gaps: list[str]
    gaps: dict[str, dict[str, int]]
    counts: dict[str, int]
    lag_p50_ms: float | None
    lag_p95_ms: float | None
    lag_p99_ms: float | None
    lag: Histogram
    book_lag: Histogram


class State(msgspec.Struct):
    """One second of a run. Times are ns since the Unix epoch; what does not apply is null."""

    version: str
    pid: int
    started_ns: int
    now_ns: int
    backend: str
    stopping: bool
    frames: int
    markets: list[MarketState]
    clock_offset_ms: dict[str, float | None]
    rest_weight: dict[str, RestWeight]
    journal_bytes: int | None
    journal_max_bytes: int | None
    journal_lag: Histogram | None
    backend_lag_s: float | None
    backend_lag: Histogram | None
    backend_away_since_ns: int | None
    backend_error: str | None
    delivered_rows: int | None
    refused_rows: int | None
    refusing: bool
    memory_bytes: int | None
    descriptors: int | None
    descriptor_limit: int | None = None


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(State)


def write_state(data_dir: Path, state: State) -> None:
    """Replaces the state in `data_dir`; a reader finds the old one or the new one, whole.

    Raises:
        OSError: the disk refused.
    """
    path = data_dir / STATE_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(_ENCODER.encode(state))
    fresh.replace(path)


def read_state(data_dir: Path) -> State | None:
    """The newest state; None where no run has written one.

    Raises:
        ValueError: it is not one that this version can read.
    """
    path = data_dir / STATE_FILE
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return _DECODER.decode(text)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path}: not a state that this version can read ({error})") from error


def is_fresh(state: State, now_ns: int) -> bool:
    """Whether a run still writes it."""
    return not state.stopping and now_ns - state.now_ns <= FRESH_S * 1e9


def memory_bytes() -> int | None:
    """Resident memory of this process; None where the system does not tell (not Linux)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int | None:
    """Open file descriptors of this process; None where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  each second: no need for paths
    except OSError:
        return None


def descriptor_limit() -> int | None:
    """How many files this process may have open; None where nothing bounds them."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft
