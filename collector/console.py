"""The line that `run` prints each second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from collector.core.depth_rows import EpochRow

FEW = 4
"""Up to so many markets have a line each; more share one."""


class Console:
    """Prints each epoch once, through `say`."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._shown_epoch = 0
        self._frames = 0

    def show(self, live: Sequence[tuple[str, EpochRow | None]], frames: int, now_ns: int) -> None:
        """One second: the newest epoch of every market by name, and the frames received since the start."""
        rows = [(name, row) for name, row in live if row is not None and row.epoch > self._shown_epoch]
        if rows:
            self._shown_epoch = max(row.epoch for _, row in rows)
            if len(live) > FEW:
                late_s = now_ns / 1e9 - self._shown_epoch
                self._say(summary_line([row for _, row in rows], late_s, frames - self._frames))
            else:
                for name, row in rows:
                    self._say(market_line(name, row, now_ns / 1e9 - row.epoch))
        self._frames = frames


def market_line(name: str, row: EpochRow, late_s: float) -> str:
    """One market's epoch: when, how long after its end, best prices, spread, and what rests within the buckets."""
    head = f"[{datetime.fromtimestamp(row.epoch, UTC):%H:%M:%S}] ({late_s:.2f}s) | {name}"
    bid, ask = row.best_bid, row.best_ask
    if bid is None or ask is None:
        return f"{head} no book yet | epoch: {row.epoch}"
    spread = (ask - bid) / ((ask + bid) / 2) * 1e4
    flag = "" if row.valid else " | NOT VALID"
    return (
        f"{head} {_price(bid)}/{_price(ask)} | spread: {spread:.1f}bps | "
        f"bids: {_money(row.bid_sum)} | asks: {_money(row.ask_sum)} | epoch: {row.epoch}{flag}"
    )


def summary_line(rows: list[EpochRow], late_s: float, frames: int) -> str:
    """Many markets' epoch in one line."""
    epoch = max(row.epoch for row in rows)
    valid = sum(row.valid for row in rows)
    return (
        f"[{datetime.fromtimestamp(epoch, UTC):%H:%M:%S}] ({late_s:.2f}s) | {valid} of {len(rows)} markets valid | "
        f"{frames:,} frames a second | epoch: {epoch}"
    )


def _price(value: float) -> str:
    if value >= 1:
        return f"${value:,.2f}"
    return f"${value:.8f}".rstrip("0")


def _money(value: float) -> str:
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"${value / size:.1f}{unit}"
    return f"${value:.0f}"
