"""This machine: its clock, its disk, its limit of open files."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import statistics
from typing import TYPE_CHECKING

from collector.doctor.report import Check, Level

if TYPE_CHECKING:
    from pathlib import Path

    from collector.clock import Clock

_MIB = 1 << 20
_LEAST_FREE_BYTES = 256 * _MIB
_PROBE_BYTES = 8 * _MIB
_COMMITS = 10
_COMMIT_BYTES = 16 << 10
# A run commits each second, so a sync that takes longer falls behind for good.
_SLOW_COMMIT_S, _TOO_SLOW_COMMIT_S = 0.25, 1.0
_SLOW_BYTES_PER_S = 5 * _MIB
_STEP_NS = 200_000_000
_FILES_BESIDES = 64  # journal, libraries, event loop, REST, a Parquet file or two


def check_wall_clock(clock: Clock) -> Check:
    """Whether the wall clock kept pace with elapsed time since `clock` was made."""
    step_ns = clock.wall_step_ns()
    found = f"{step_ns / 1e6:+.1f} ms against elapsed time since the start"
    data = {"wall_step_ns": step_ns}
    if abs(step_ns) <= _STEP_NS:
        return Check("wall clock", "ok", found, data=data)
    mend = "let chrony or systemd-timesyncd slew the clock; stamps of a running collector do not follow a step"
    return Check("wall clock", "warn", found, mend, data)


def check_space(data_dir: Path, journal_max_bytes: int) -> Check:
    """Room for the journal at its bound, and for files beside it."""
    folder = nearest(data_dir)
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Check("disk space", "FAIL", f"{folder}: {error.strerror}", "choose another --data-dir")
    found, data = f"{_bytes(free)} free at {folder}", {"free_bytes": free, "folder": str(folder)}
    if free < _LEAST_FREE_BYTES:
        mend = f"free at least {_bytes(_LEAST_FREE_BYTES)}, or choose another --data-dir"
        return Check("disk space", "FAIL", found, mend, data)
    if free < journal_max_bytes:
        mend = (
            f"while the backend is away the journal may grow to {_bytes(journal_max_bytes)}: "
            "free that much, or lower --journal-max-bytes"
        )
        return Check("disk space", "warn", found, mend, data)
    return Check("disk space", "ok", found, data=data)


def check_disk_speed(data_dir: Path, clock: Clock) -> Check:
    """Whether the data folder can be written to, and how fast a sync is; leaves nothing behind."""
    folder = nearest(data_dir)
    probe = folder / f".doctor-{os.getpid()}.tmp"
    try:
        try:
            commits_s, bytes_per_s = _time_writes(probe, clock)
        finally:
            with contextlib.suppress(OSError):
                probe.unlink(missing_ok=True)
    except OSError as error:
        mend = "check who may write there and that the disk is sound, or choose another --data-dir"
        return Check("disk writes", "FAIL", f"{folder}: {error.strerror or error}", mend)
    typical_s, worst_s = statistics.median(commits_s), max(commits_s)
    found = f"a commit takes {typical_s * 1e3:.1f} ms (worst {worst_s * 1e3:.1f}), {_bytes(bytes_per_s)}/s synced"
    data = {"commit_s": typical_s, "worst_commit_s": worst_s, "bytes_per_s": bytes_per_s}
    level: Level = "ok"
    if typical_s > _SLOW_COMMIT_S or bytes_per_s < _SLOW_BYTES_PER_S:
        level = "FAIL" if typical_s > _TOO_SLOW_COMMIT_S else "warn"
    mend = "" if level == "ok" else "put --data-dir on a local disk: a run commits each second"
    return Check("disk writes", level, found, mend, data)


def check_open_files(connections: int, markets: int) -> Check:
    """Whether the process may open what a run opens: sockets, files, and a capture a market under --raw."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _FILES_BESIDES + connections + markets
    limit = "no limit" if soft == resource.RLIM_INFINITY else f"{soft:,}"
    found, data = f"limit {limit}; this run needs about {needed:,}", {"soft": soft, "hard": hard, "needed": needed}
    if soft == resource.RLIM_INFINITY or soft >= 2 * needed:
        return Check("open files", "ok", found, data=data)
    mend = f"raise the limit: ulimit -n {4 * needed}, or LimitNOFILE={4 * needed} in the systemd unit"
    return Check("open files", "FAIL" if soft < needed else "warn", found, mend, data)


def nearest(folder: Path) -> Path:
    """`folder`, or the nearest one above it that is there already."""
    folder = folder.expanduser().absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _time_writes(path: Path, clock: Clock) -> tuple[list[float], float]:
    """Seconds of each small synced write, and bytes a second of a large one."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        commits_s = [_timed_write(descriptor, _COMMIT_BYTES, clock) for _ in range(_COMMITS)]
        return commits_s, _PROBE_BYTES / max(_timed_write(descriptor, _PROBE_BYTES, clock), 1e-9)
    finally:
        os.close(descriptor)


def _timed_write(descriptor: int, size_bytes: int, clock: Clock) -> float:
    start_ns = clock.now_ns()
    # Not zeros: some file systems store those as a hole.
    rest = memoryview(os.urandom(size_bytes))
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.fsync(descriptor)
    return (clock.now_ns() - start_ns) / 1e9


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
