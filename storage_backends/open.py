"""From a backend's name to the backend; imports only what that one needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from storage_backends.interface import Backend

BACKENDS = ("local", "none")
_LATER = ("s3", "bigtable")


def open_backend(name: str, data_dir: str | Path = "data") -> Backend:
    """Opens the backend `name`; `data_dir` is the folder of `local`. Touches nothing in the store yet.

    Raises:
        ValueError: no such backend; names the setting and the choices.
    """
    if name == "local":
        from storage_backends.local import LocalBackend

        return LocalBackend(Path(data_dir).expanduser())
    if name == "none":
        from storage_backends.none import NoneBackend

        return NoneBackend()
    problem = "is not available yet" if name in _LATER else "is not known"
    raise ValueError(f"backend {name!r} {problem}; set --backend (or DB_BACKEND) to {' or '.join(BACKENDS)}")
