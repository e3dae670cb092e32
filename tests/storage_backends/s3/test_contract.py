"""The contract on S3: on moto's server, and with S3_TEST_ENDPOINT set on the store that it names.

Set up OpenStack Swift, a real object store, and run this file on it: tests/storage_backends/s3/swift.sh FOLDER
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from storage_backends import jsonl, parquet
from storage_backends.contract.model import model_test
from storage_backends.contract.suite import BackendContract
from storage_backends.interface import Backend
from storage_backends.s3 import S3Backend, S3Days
from storage_backends.s3_client import Location


class TestContract(BackendContract):
    test_agrees_with_a_model = model_test(8)

    @pytest.fixture
    def open_store(self, location: Location) -> Callable[[], Backend]:
        return lambda: S3Backend(location)


class CompactingStore:
    """A store whose days are merged before every question."""

    def __init__(self, location: Location, file_format: str) -> None:
        self._days = S3Days(location)
        self._backend = S3Backend(location, file_format)

    def __getattr__(self, name: str) -> Any:
        if name in ("scan", "markets", "tables"):
            for day in list(self._days.days()):
                self._days.compact(day)
        return getattr(self._backend, name)


@pytest.mark.soak
class TestContractWhileDaysAreMergedInBothFormats(BackendContract):
    @pytest.fixture
    def open_store(self, location: Location, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 5)
        monkeypatch.setattr(jsonl, "FRAME_ROWS", 3)
        formats = itertools.cycle(["parquet", "jsonl"])
        return lambda: CompactingStore(location, next(formats))
