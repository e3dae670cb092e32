"""From settings to the backend; imports only what that one needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from storage_backends.settings import StoreSettings

if TYPE_CHECKING:
    from storage_backends.days import Days
    from storage_backends.interface import Backend
    from storage_backends.s3_client import Location

BACKENDS = ("local", "s3", "bigtable", "none")
FILE_FORMATS = ("parquet", "jsonl")


def open_store(settings: StoreSettings) -> Backend:
    """Opens the backend that `settings` names. Touches nothing in the store yet.

    Raises:
        ValueError: no such backend, or a setting of it is missing; names the setting and the choices.
    """
    name = settings.backend
    if name == "local":
        from storage_backends.local import LocalBackend

        return LocalBackend(settings.data_dir.expanduser(), settings.file_format)
    if name == "bigtable":
        from storage_backends.bigtable.backend import BigtableBackend
        from storage_backends.bigtable.options import BigtableOptions

        return BigtableBackend(BigtableOptions.of(settings))
    if name == "s3":
        from storage_backends.s3 import S3Backend

        return S3Backend(_s3_location(settings), settings.file_format)
    if name == "none":
        from storage_backends.none import NoneBackend

        return NoneBackend()
    raise ValueError(
        f"backend {name!r} is not known; set --backend (or DB_BACKEND) to {', '.join(BACKENDS[:-1])} or {BACKENDS[-1]}"
    )


def open_backend(name: str, data_dir: str | Path = "data", file_format: str = "parquet") -> Backend:
    """`open_store` for a backend that needs to know a folder at most.

    `file_format`, one of `FILE_FORMATS`, is that of new files; all are read. Raises what `open_store` raises.
    """
    return open_store(StoreSettings(backend=name, data_dir=Path(data_dir), file_format=file_format))


def open_days(settings: StoreSettings) -> Days | None:
    """The days of what `open_store` opens; None for a backend that does not keep files by day. Raises as that does."""
    if settings.backend == "s3":
        from storage_backends.s3 import S3Days

        return S3Days(_s3_location(settings))
    if settings.backend == "local":
        from storage_backends.local_days import LocalDays

        return LocalDays(settings.data_dir.expanduser())
    return None


def _s3_location(settings: StoreSettings) -> Location:
    from storage_backends.s3_client import Location

    if not settings.s3_bucket:
        raise ValueError("--backend s3 needs a bucket; set --s3-bucket (or S3_BUCKET)")
    return Location(
        settings.s3_bucket,
        settings.s3_prefix.strip("/"),
        settings.s3_region or None,
        settings.s3_endpoint_url or None,
    )
