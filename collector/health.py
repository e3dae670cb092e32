"""Is a collector at work? `run` touches a file each second; who asks looks at the file's age.

    python -m collector.health          # 0: at work; 1: not

imports almost nothing, so that a container may ask twice a minute on a quarter of a CPU. `collector health` is the same
for people. The file tells that the loop of `run` turns and goes on committing, not that a backend is reachable: a
collector whose backend is away must not be restarted for it, since its journal is collecting.
"""

from __future__ import annotations

import os
import sys
import time

HEARTBEAT = "heartbeat"
"""Name of the file in the data folder."""

MAX_AGE_S = 30.0


def beat(folder: str | os.PathLike[str]) -> None:
    """Sets the heartbeat's time to now; makes it if need be.

    Raises:
        OSError: the folder is gone, or the disk is full and the file was not there yet.
    """
    path = os.path.join(folder, HEARTBEAT)  # noqa: PTH118 - pathlib would double what the check costs
    try:
        os.utime(path)
    except FileNotFoundError:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))


def problem(folder: str | os.PathLike[str], max_age_s: float = MAX_AGE_S) -> str | None:
    """What is wrong with the collector that stores into `folder`; None when its heartbeat is young enough."""
    path = os.path.join(folder, HEARTBEAT)  # noqa: PTH118
    try:
        age_s = time.time() - os.stat(path).st_mtime  # noqa: PTH116
    except OSError as error:
        return f"no heartbeat at {path} ({error.strerror}): no collector has stored anything there yet"
    # A clock that was set back would make an old beat look young for as long.
    if abs(age_s) <= max_age_s:
        return None
    return f"the last heartbeat at {path} is {age_s:,.0f} s old, more than {max_age_s:g}"


def dry_run_folder() -> str:
    """Where a dry run has its heartbeat: in this user's own folder for what is temporary, since it stores nothing."""
    return os.path.join(os.environ.get("TMPDIR") or "/tmp", f"collector-dry-run-{os.getuid()}")  # noqa: PTH118, S108


def main() -> int:
    """Exit code for a container's health check; COLLECTOR_DRY_RUN and COLLECTOR_DATA_DIR say where to look."""
    dry_run = os.environ.get("COLLECTOR_DRY_RUN", "").strip().lower() in {"1", "true", "t", "yes", "y", "on"}
    wrong = problem(dry_run_folder() if dry_run else os.environ.get("COLLECTOR_DATA_DIR", "data"))
    if wrong is not None:
        sys.stderr.write(f"{wrong}\n")
    return int(wrong is not None)


if __name__ == "__main__":
    sys.exit(main())
