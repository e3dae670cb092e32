"""The contract, on Google's emulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from storage_backends.bigtable.backend import BigtableBackend
from storage_backends.bigtable.options import BigtableOptions
from storage_backends.contract.suite import BackendContract
from storage_backends.interface import Backend


class TestBigtable(BackendContract):
    @pytest.fixture
    def open_store(self, options: BigtableOptions) -> Iterator[Callable[[], Backend]]:
        opened: list[Backend] = []

        def open_again() -> Backend:
            opened.append(BigtableBackend(options))
            return opened[-1]

        yield open_again
        for backend in opened:
            backend.close()
