"""An emulator of Bigtable with a proxy before it, and a backend and a deliverer that reach it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage_backends.bigtable.backend import BigtableBackend
from storage_backends.bigtable.options import BigtableOptions
from tests.bigtable_emulator import emulator_host, options
from tests.bigtable_proxy import Proxy, proxy
from tests.storage_backends.bigtable.delivery import Delivery

__all__ = ["emulator_host", "options", "proxy"]


@pytest.fixture
def through(proxy: Proxy, options: BigtableOptions) -> Iterator[BigtableBackend]:
    """A backend that reaches its instance by way of the proxy."""
    backend = BigtableBackend(BigtableOptions(options.project_id, options.instance_id, proxy.host))
    yield backend
    backend.close()


@pytest.fixture
def direct(options: BigtableOptions) -> Iterator[BigtableBackend]:
    """The same instance, whatever the proxy does."""
    backend = BigtableBackend(options)
    yield backend
    backend.close()


@pytest.fixture
def delivery(tmp_path: Path, through: BigtableBackend) -> Iterator[Delivery]:
    made = Delivery(tmp_path / "journal.db", through)
    yield made
    made.journal.close()
