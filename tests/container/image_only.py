"""The collector with no other packages than its image has: `python -m tests.container.image_only ARGUMENTS…`.

Tests run where much more is installed, and a library may use what it finds (pyarrow does so with pandas).
"""

from __future__ import annotations

import importlib.abc
import re
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

LOCK = Path(__file__).parents[2] / "requirements-collector.lock"


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def foreign() -> frozenset[str]:
    """Modules of this environment that the image does not have."""
    locked = {_canonical(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", LOCK.read_text(), re.MULTILINE)}
    return frozenset(
        module
        for module, distributions in packages_distributions().items()
        if locked.isdisjoint(map(_canonical, distributions)) and module not in {"collector", "storage_backends"}
    )


class _Absent(importlib.abc.MetaPathFinder):
    """Denies that certain modules are installed."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


if __name__ == "__main__":
    sys.meta_path.insert(0, _Absent(foreign()))
    from collector.cli import main

    main()
