"""A command run in a folder and an environment of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from collector.cli import main
from collector.settings import RunSettings
from tests.cli.call import Call


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    """What `.env` brought in is gone after the test."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Runs a command in an empty folder: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("COLLECTOR_") or name in {
            "SYMBOL",
            "DB_BACKEND",
            "LOG_LEVEL",
            "FUTURES_WS",
            "SPOT_WS",
            "DEPTH_SPEED",
        }:
            monkeypatch.delenv(name)

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return stop.value.code, captured.out, captured.err

    with mock.patch.dict(os.environ):  # what a command takes from `.env` stays in this test
        yield run


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> list[RunSettings]:
    """The settings that `run` arrives at, which then does nothing."""
    seen: list[RunSettings] = []

    class Nothing:
        def __init__(self, chosen: RunSettings, *_: object) -> None:
            seen.append(chosen)

        async def run(self) -> None:
            pass

    monkeypatch.setattr("collector.pipeline.Pipeline", Nothing)
    return seen
