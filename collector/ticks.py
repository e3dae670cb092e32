"""Tick sizes of the multi-tick book, as people write them: one list for all markets, or one for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import click

from collector.markets import exchange_symbol

AUTO = "auto"
ALL = "*"

Ticks = Mapping[str, tuple[str, ...]]
"""By the exchange's symbol; `ALL` stands for those that are not named, and () for what the price suggests."""


class TickSizes(click.ParamType):  # type: ignore[type-arg]
    """`auto`, `10,50,100`, or by market: `BTC/USDT=10,50;ETH/USDT=1,5`. In YAML a list, or a mapping of lists."""

    name = "ticks"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Ticks:
        try:
            if isinstance(value, Mapping):
                return {_symbol(str(name)): _ticks(ticks) for name, ticks in value.items()}
            if isinstance(value, str) and "=" in value:
                pairs = [part.partition("=") for part in value.split(";") if part.strip()]
                return {_symbol(name.strip()): _ticks(ticks) for name, _, ticks in pairs}
            return {ALL: _ticks(value)}
        except ValueError as error:
            self.fail(f"{value!r}: {error}; write 10,50,100 or BTC/USDT=10,50;ETH/USDT=1,5 or auto", param, ctx)


def ticks_of(ticks: Ticks, symbol: str) -> tuple[str, ...] | None:
    """Those of one market; None where it has none."""
    return ticks.get(symbol, ticks.get(ALL))


def named_in(ticks: Ticks | None) -> list[str]:
    """The markets that have widths of their own."""
    return [symbol for symbol in ticks or {} if symbol != ALL]


def _symbol(name: str) -> str:
    return ALL if name in (ALL, "default") else exchange_symbol(name, "--tick-sizes")


def _ticks(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        if value.strip() == AUTO:
            return ()
        value = value.split(",")
    elif not isinstance(value, Iterable):
        value = [value]
    return tuple(_tick(str(one).strip()) for one in value)


def _tick(text: str) -> str:
    try:
        tick = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is no number") from None
    if not (tick.is_finite() and Decimal("1e-12") <= tick <= Decimal("1e12")):
        raise ValueError(f"{text} is no width of a price level")
    return f"{tick.normalize():f}"
