"""Fixtures that end what they started."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.live.harness import Process, Simulator


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    """Processes put in here are gone after the test."""
    started: list[Process] = []
    yield started
    for process in started:
        process.kill()


@pytest.fixture
def simulate(processes: list[Process]) -> Callable[..., Simulator]:
    """Starts a simulator with options."""

    def start(*options: str) -> Simulator:
        simulator = Simulator(*options)
        processes.append(simulator)
        return simulator

    return start
