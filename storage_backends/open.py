"""From settings to the backend; imports only what that one needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from storage_backends.settings import StoreSettings

if TYPE_CHECKING:
    from storage_backends.days import Days
    from storage_backends.interface import Backend

BACKENDS = ("local", "none")
FILE_FORMATS = ("parquet", "jsonl")
_LATER = ("s3", "bigtable")


def open_store(settings: StoreSettings) -> Backend:
    """Opens the backend that `settings` names. Touches nothing in the store yet.

    Raises:
        ValueError: no such backend, or a setting of it is missing; names the setting and the choices.
    """
    name = settings.backend
    if name == "local":
        from storage_backends.local import LocalBackend

        return LocalBackend(settings.data_dir.expanduser(), settings.file_format)
    if name == "none":
        from storage_backends.none import NoneBackend

        return NoneBackend()
    problem = "is not available yet" if name in _LATER else "is not known"
    raise ValueError(f"backend {name!r} {problem}; set --backend (or DB_BACKEND) to {' or '.join(BACKENDS)}")


def open_backend(name: str, data_dir: str | Path = "data", file_format: str = "parquet") -> Backend:
    """`open_store` for a backend that needs to know a folder at most.

    `file_format`, one of `FILE_FORMATS`, is that of new files; all are read. Raises what `open_store` raises.
    """
    return open_store(StoreSettings(backend=name, data_dir=Path(data_dir), file_format=file_format))


def open_days(name: str, data_dir: str | Path = "data") -> Days | None:
    """The days of what `open_backend` opens; None for a backend that does not keep files by day."""
    if name != "local":
        return None
    from storage_backends.local_days import LocalDays

    return LocalDays(Path(data_dir).expanduser())
