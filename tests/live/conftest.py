"""A simulator for each test."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.live.harness import Process, Simulator


@pytest.fixture
def simulate(processes: list[Process]) -> Callable[..., Simulator]:
    """Starts a simulator with options."""

    def start(*options: str) -> Simulator:
        simulator = Simulator(*options)
        processes.append(simulator)
        return simulator

    return start
