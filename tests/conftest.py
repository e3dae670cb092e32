"""What must be said before any test module is imported, and what tests of several folders ask for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.live.harness import Process

# The contract ships with the package; its assertions are shown like those of a test file.
pytest.register_assert_rewrite("storage_backends.contract")


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    """Processes put in here are gone after the test."""
    started: list[Process] = []
    yield started
    for process in started:
        process.kill()
