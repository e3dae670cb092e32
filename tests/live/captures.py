"""Real captures for tests: read without the project's code, cut into others, and a book of texts kept from them."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

CAPTURES = Path(os.environ.get("CAPTURE_DIR", Path(__file__).parents[2] / "../shared/data"))
FUTURES_FILES = ("usdm_btcusdt_20240718.gz", "usdm_btcusdt_20240719.gz")
SPOT_FILES = ("spot_btcusdt_20240808.gz",)


class Line(NamedTuple):
    """One line of a capture. `channel` None: a snapshot, and `message` is its body."""

    recv_ns: int
    channel: str | None
    message: dict[str, Any]
    text: bytes


def captures(*names: str) -> list[Path]:
    """The files; without them the test is skipped."""
    paths = [CAPTURES / name for name in names]
    for path in paths:
        if not path.exists():
            pytest.skip(f"no {path}; set CAPTURE_DIR to the folder of real captures")
    return paths


def read(path: Path) -> Iterator[Line]:
    """The lines of a file as they stand in it."""
    with gzip.open(path, "rb") as file:
        for text in file:
            stamp, _, body = text.partition(b" ")
            message = json.loads(body)
            channel = message["stream"].split("@")[1] if "stream" in message else None
            yield Line(int(stamp), channel, message["data"] if channel else message, text)


def write(path: Path, lines: Iterable[Line]) -> Path:
    """A capture of these lines; its name has to hold the symbol."""
    with path.open("wb") as file:
        file.writelines(line.text for line in lines)
    return path


def snapshot_line(recv_ns: int, body: dict[str, Any]) -> Line:
    """A REST snapshot, as a line."""
    return Line(recv_ns, None, body, b"%d %b\n" % (recv_ns, json.dumps(body, separators=(",", ":")).encode()))


class TextBook:
    """Levels by the exchange's own texts, from one snapshot and the diffs after it."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.last_id: int = snapshot["lastUpdateId"]
        self.sides = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}
        self.known_from = min(float(price) for price, _ in snapshot["bids"])
        self.known_to = max(float(price) for price, _ in snapshot["asks"])

    def apply(self, diff: dict[str, Any]) -> None:
        """Takes a diff, in order; those that the snapshot includes change nothing."""
        if diff["u"] <= self.last_id:
            return
        assert diff["pu"] <= self.last_id if "pu" in diff else diff["U"] <= self.last_id + 1, "the capture has a gap"
        self.last_id = diff["u"]
        for name, side in self.sides.items():
            for price, quantity in diff[name]:
                if float(quantity):
                    side[price] = quantity
                else:
                    side.pop(price, None)

    def snapshot(self, limit: int) -> dict[str, Any]:
        """The body that the exchange would have sent."""
        bids = sorted(self.sides["b"].items(), key=lambda level: -float(level[0]))
        asks = sorted(self.sides["a"].items(), key=lambda level: float(level[0]))
        return {"lastUpdateId": self.last_id, "bids": bids[:limit], "asks": asks[:limit]}

    def ladders(self) -> tuple[list[list[float]], list[list[float]]]:
        """Bids and asks, best first, of what the snapshot let us know."""
        bids = [[float(price), float(quantity)] for price, quantity in self.sides["b"].items()]
        asks = [[float(price), float(quantity)] for price, quantity in self.sides["a"].items()]
        return (
            sorted((level for level in bids if level[0] >= self.known_from), reverse=True),
            sorted(level for level in asks if level[0] <= self.known_to),
        )


def text_book(lines: Iterable[Line], before_ns: int) -> TextBook:
    """The book after every line received before an instant."""
    waiting: list[dict[str, Any]] = []
    book: TextBook | None = None
    for line in lines:
        if line.recv_ns >= before_ns:
            break
        if line.channel is None:
            assert book is None, "one snapshot is enough"
            book = TextBook(line.message)
            for diff in waiting:
                book.apply(diff)
        elif line.channel == "depth":
            if book is None:
                waiting.append(line.message)
            else:
                book.apply(line.message)
    assert book is not None
    return book
