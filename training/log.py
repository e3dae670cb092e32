"""What a run tells while it trains: one line an epoch for people, one JSON object an epoch for programs."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def jsonl_log(path: Path, extra: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """A log that adds one JSON object a line to `path`."""

    def write(record: dict[str, Any]) -> None:
        line = json.dumps({"time": time.time(), **extra, **record})
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    return write


def say_epochs(say: Callable[[str], None], name: str) -> Callable[[dict[str, Any]], None]:
    """A log for people: one line an epoch."""

    def write(record: dict[str, Any]) -> None:
        if "train_loss" not in record:
            say(f"{name}  before training: validation {record['validation_loss']:.5f}")
            return
        say(
            f"{name}  epoch {record['epoch']}: train {record['train_loss']:.5f}  "
            f"validation {record['validation_loss']:.5f}  {record['labels_per_s']:,.0f} labels/s"
        )

    return write


def both(*logs: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    """Several logs as one."""

    def write(record: dict[str, Any]) -> None:
        for log in logs:
            log(record)

    return write


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a JSONL log."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
