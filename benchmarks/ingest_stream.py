"""The depth stream of the ingest benchmark: captured messages in a loop, ids and times shifted so that nothing breaks.

After each round one made-up diff takes the book back to where it began, so that no seam crosses it. Standard library
only, since clients of other environments share it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

ANCHOR_LEVELS = 1000
STREAM = "btcusdt@depth@100ms"


@dataclass(frozen=True, slots=True)
class Stream:
    """A snapshot and the messages after it; the first message is the last one that the snapshot includes."""

    snapshot: bytes
    messages: list[bytes]
    ids: list[int]
    event_ms: list[int]
    levels: float
    """Mean levels in a message."""


class _Book:
    """Levels by the exchange's texts."""

    def __init__(self, bids: Sequence[Sequence[str]], asks: Sequence[Sequence[str]]) -> None:
        self.sides: dict[str, dict[str, str]] = {
            "b": {level[0]: level[1] for level in bids},
            "a": {level[0]: level[1] for level in asks},
        }

    def apply(self, diff: dict[str, Any]) -> None:
        for name, side in self.sides.items():
            for price, quantity in diff[name]:
                if float(quantity):
                    side[price] = quantity
                else:
                    side.pop(price, None)

    def top(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        bids = sorted(self.sides["b"].items(), key=lambda level: -float(level[0]))
        asks = sorted(self.sides["a"].items(), key=lambda level: float(level[0]))
        return bids[:ANCHOR_LEVELS], asks[:ANCHOR_LEVELS]

    def changes_to(self, other: _Book) -> dict[str, list[list[str]]]:
        """The levels that make this book the other one."""
        changes: dict[str, list[list[str]]] = {}
        for name, side in self.sides.items():
            target = other.sides[name]
            gone = [[price, "0.000"] for price in side if price not in target]
            changes[name] = gone + [[price, size] for price, size in target.items() if side.get(price) != size]
        return changes


def make_stream(captures: Sequence[Path], messages: int) -> Stream:
    """The first `messages` of the endless stream.

    Raises:
        ValueError: the captures hold no snapshot that their diffs reach, or have a gap.
    """
    snapshot, diffs = _read(captures)
    diffs = [diff for diff in diffs if diff["u"] >= snapshot["lastUpdateId"]]
    if not diffs or any(after["pu"] != before["u"] for before, after in pairwise(diffs)):
        raise ValueError("the captures are not one chain of diffs after a snapshot")
    bridge, *diffs = diffs
    book = _Book(snapshot["bids"], snapshot["asks"])
    book.apply(bridge)
    bids, asks = book.top()
    anchor = {"lastUpdateId": bridge["u"], "E": bridge["E"], "T": bridge["T"], "bids": bids, "asks": asks}
    diffs.append(_way_back(_Book(bids, asks), diffs))
    span = diffs[-1]["u"] - bridge["u"]
    # A round begins as long after its seam as the first message came after the bridge.
    span_ms = diffs[-1]["E"] - bridge["E"]
    sent = [bridge]
    for number in range(messages - 1):
        rounds, at = divmod(number, len(diffs))
        diff = dict(diffs[at])
        for key in ("U", "u", "pu"):
            diff[key] += rounds * span
        for key in ("E", "T"):
            diff[key] += rounds * span_ms
        sent.append(diff)
    return Stream(
        json.dumps(anchor, separators=(",", ":")).encode(),
        [json.dumps(diff, separators=(",", ":")).encode() for diff in sent],
        [diff["u"] for diff in sent],
        [diff["E"] for diff in sent],
        sum(len(diff["b"]) + len(diff["a"]) for diff in sent) / len(sent),
    )


def _read(captures: Sequence[Path]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    snapshot: dict[str, Any] | None = None
    diffs = []
    for path in captures:
        with gzip.open(path, "rb") as file:
            for line in file:
                body = line.partition(b" ")[2]
                if b'"depthUpdate"' in body[:80]:
                    diffs.append(json.loads(body)["data"])
                elif snapshot is None and body.startswith(b'{"lastUpdateId"'):
                    snapshot = json.loads(body)
    if snapshot is None:
        raise ValueError("the captures hold no snapshot")
    return snapshot, diffs


def _way_back(start: _Book, diffs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The diff after the last one that makes the book `start` again."""
    book = _Book(list(start.sides["b"].items()), list(start.sides["a"].items()))
    for diff in diffs:
        book.apply(diff)
    last = diffs[-1]
    step_ms = 50
    head = dict(last) | {"E": last["E"] + step_ms, "T": last["T"] + step_ms}
    return head | {"U": last["u"] + 1, "u": last["u"] + 1, "pu": last["u"]} | book.changes_to(start)
