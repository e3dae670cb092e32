"""From a backend's name to the backend; imports only what that one needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from storage_backends.days import Days
    from storage_backends.interface import Backend

BACKENDS = ("local", "none")
FILE_FORMATS = ("parquet", "jsonl")
_LATER = ("s3", "bigtable")


def open_backend(name: str, data_dir: str | Path = "data", file_format: str = "parquet") -> Backend:
    """Opens the backend `name`; `data_dir` is the folder of `local`. Touches nothing in the store yet.

    `file_format`, one of `FILE_FORMATS`, is that of new files; all are read.

    Raises:
        ValueError: no such backend; names the setting and the choices.
    """
    if name == "local":
        from storage_backends.local import LocalBackend

        return LocalBackend(Path(data_dir).expanduser(), file_format)
    if name == "none":
        from storage_backends.none import NoneBackend

        return NoneBackend()
    problem = "is not available yet" if name in _LATER else "is not known"
    raise ValueError(f"backend {name!r} {problem}; set --backend (or DB_BACKEND) to {' or '.join(BACKENDS)}")


def open_days(name: str, data_dir: str | Path = "data") -> Days | None:
    """The days of what `open_backend` opens; None for a backend that does not keep files by day."""
    if name != "local":
        return None
    from storage_backends.local_days import LocalDays

    return LocalDays(Path(data_dir).expanduser())
