"""pyarrow with less memory: without pandas, and without an allocator of its own.

At its first conversion pyarrow imports pandas, if it is installed, only to learn whether what it was given is one of
its objects: half a second and 60 MB for a process that writes files. It asks once; here the answer is no.

Its allocator, mimalloc, keeps what a written file has needed for the next one, in each thread: 40 MB where a collector
of fifty markets writes files of half a megabyte, and Parquet's buffers for them take one.
"""

from __future__ import annotations

import importlib.abc
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


class _Hidden(importlib.abc.MetaPathFinder):
    """Denies that pandas is installed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "pandas":
            raise ModuleNotFoundError("hidden while pyarrow asks", name=fullname)
        return None


def with_system_memory() -> None:
    """Lets pyarrow allocate as the rest of the process does. To be called before pyarrow is imported.

    For commands that own their process and live long. `ARROW_DEFAULT_MEMORY_POOL` in the environment stays as it is.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


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
