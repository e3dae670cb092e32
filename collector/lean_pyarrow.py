"""pyarrow with less memory: without pandas, and without an allocator of its own.

At its first conversion pyarrow imports pandas, if it is installed, only to learn whether what it was given is one of
its objects: half a second and 60 MB for a process that writes files. It asks once; here the answer is no.

Its allocator, mimalloc, keeps what a written file has needed for the next one, in each thread: 40 MB where a collector
of fifty markets writes files of half a megabyte, and Parquet's buffers for them take one. glibc does much the same with
pieces of up to 32 MB, unless it is told not to: 60 MB in each thread that copies 20.
"""

from __future__ import annotations

import ctypes
import importlib.abc
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_LARGE_BYTES = 4 << 20


class _Hidden(importlib.abc.MetaPathFinder):
    """Denies that pandas is installed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "pandas":
            raise ModuleNotFoundError("hidden while pyarrow asks", name=fullname)
        return None


def with_system_memory() -> None:
    """Lets pyarrow allocate as the rest of the process does, and large pieces go back to the system once they are free.

    To be called before pyarrow is imported, by commands that own their process and live long.
    `ARROW_DEFAULT_MEMORY_POOL` in the environment stays as it is.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc only
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_TRIM_THRESHOLD, _LARGE_BYTES)


def without_pandas() -> None:
    """From now on pyarrow does not know pandas in this process: `to_pandas` raises. Nothing happens if pandas is there.

    For commands that own their process. `import pandas` itself works as ever.
    """
    import pyarrow as pa

    if "pandas" in sys.modules:
        return
    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(hidden)
