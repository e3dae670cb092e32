"""Bars the slow way: every trade by itself, filed by the second in which it was received."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from collector.core.flow import EpochFlow
from tests.core.features.world import NS


class SlowBar(NamedTuple):
    end: int
    open: float
    high: float
    low: float
    close: float
    volume: float


def slow_bars(flows: Sequence[EpochFlow], length_s: int) -> list[SlowBar]:
    """All whole bars; every epoch of `flows` must have a trade."""
    start_s = flows[0].epoch - (flows[1].epoch - flows[0].epoch)
    found: dict[int, list[tuple[float, float]]] = {}
    for one in flows:
        for recv_ns, price, quantity in zip(
            one.trades.recv_ns.tolist(), one.trades.price.tolist(), one.trades.quantity.tolist(), strict=True
        ):
            found.setdefault(recv_ns // NS // length_s * length_s, []).append((price, quantity))
    made = []
    for begin, rows in sorted(found.items()):
        if begin >= start_s and begin + length_s <= flows[-1].epoch:
            prices = [price for price, _ in rows]
            volume = sum(quantity for _, quantity in rows)
            made.append(SlowBar(begin + length_s, prices[0], max(prices), min(prices), prices[-1], volume))
    return made


def at_epochs(flows: Sequence[EpochFlow], ends: Sequence[int], values: Sequence[float | None]) -> list[float | None]:
    """What is known at each epoch, where value i came at epoch `ends[i]` and holds until the next."""
    known = dict(zip(ends, values, strict=True))
    now, rows = None, []
    for one in flows:
        now = known.get(one.epoch, now)
        rows.append(now)
    return rows
