"""The line that `run` prints each second."""

from __future__ import annotations

from datetime import UTC, datetime

from collector.core.depth_rows import EpochRow

FEW = 4
"""Up to so many markets have a line each; more share one."""


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
