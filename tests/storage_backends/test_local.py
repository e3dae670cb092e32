from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from storage_backends import parquet
from storage_backends.contract import BackendContract
from storage_backends.open import open_backend

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from storage_backends.interface import Backend


class TestContract(BackendContract):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> Callable[[], Backend]:
        return lambda: open_backend("local", tmp_path / "data")


class TestContractWithShortRowGroups(TestContract):
    """Every scan crosses row groups, so merging and cutting happen within files too."""

    @pytest.fixture(autouse=True)
    def _short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 3)
