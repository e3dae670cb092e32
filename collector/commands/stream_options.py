"""Options that say which streams are collected, what REST is asked for besides, and what is computed of it all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, TypeVar

import click

from collector.config import FiniteRange, setting
from collector.core.bars import interval_ms
from collector.errors import ConfigurationError
from collector.settings import Derived
from collector.sources.polls import Poll
from collector.ticks import TickSizes

Command = TypeVar("Command", bound=Callable[..., Any])

_SWITCHES: Final = {
    "depth_update": "depth",
    "agg_trade": "aggTrade",
    "trade": "trade",
    "book_ticker": "bookTicker",
    "mark_price": "markPrice",
    "force_order": "forceOrder",
}
"""Options that switch one channel on or off, whatever --streams says."""

_GRID_MS = {"10ms": 10, "50ms": 50, "100ms": 100, "200ms": 200, "250ms": 250, "500ms": 500, "1s": 1000, "none": None}


class Wanted(NamedTuple):
    """What these options say. `channels` as the exchange calls them; not yet checked against it."""

    channels: tuple[str, ...]
    polls: tuple[Poll, ...]
    derived: Derived


def stream_options(command: Command) -> Command:
    """--streams and the switches beside it, and what REST is polled for."""
    options = [
        setting(
            "--streams",
            default="depth,aggTrade,bookTicker",
            help="channels, with commas: depth, aggTrade, trade, bookTicker, markPrice, forceOrder, kline_1m, depth20",
        ),
        *(
            setting(
                f"--{name.replace('_', '-')}/--no-{name.replace('_', '-')}",
                default=None,
                show_default=False,
                help=f"{channel} on or off, whatever --streams says",
            )
            for name, channel in _SWITCHES.items()
        ),
        setting("--kline", multiple=True, help="klines of an interval, as in 1m; repeatable"),
        setting(
            "--top-n",
            type=click.Choice(["0", "5", "10", "20"]),
            default=None,
            help="partial depth: the best 5, 10 or 20 levels as the exchange streams them",
        ),
        setting(
            "--open-interest-interval",
            type=FiniteRange(1),
            default=None,
            help="seconds between polls of open interest (futures)  [default: none]",
        ),
        setting("--order-book-snapshot", is_flag=True, help="also poll whole books by REST"),
        setting(
            "--order-book-limit", type=click.IntRange(1, 5000), default=1000, help="levels a side of a polled book"
        ),
        setting("--order-book-interval", type=FiniteRange(1), default=60.0, help="seconds between polled books"),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def derived_options(command: Command) -> Command:
    """What is computed from trades and book: bars, multi-tick book, books on a grid."""
    options = [
        setting("--bars", multiple=True, help="intervals of bars, with commas: 5s,15s,1m"),
        setting(
            "--tick-sizes",
            type=TickSizes(),
            default=None,
            help="multi-tick book: auto, 10,50,100 or BTC/USDT=10,50;ETH/USDT=1,5",
        ),
        setting("--num-levels", type=click.IntRange(1, 1000), default=15, help="levels a side of the multi-tick book"),
        setting(
            "--ask-rounding",
            type=click.Choice(["ceil", "floor"]),
            default="ceil",
            help="how the multi-tick book rounds asks; floor as older collectors did",
        ),
        setting(
            "--book-grid", type=click.Choice(list(_GRID_MS)), default="none", help="pace of rows of the best levels"
        ),
        setting("--book-depth", type=click.IntRange(1, 1000), default=25, help="levels a side in those rows"),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def wanted_of(options: dict[str, Any]) -> Wanted:
    """What the values of both groups of options say.

    Raises:
        ConfigurationError: something is computed of a stream that is not collected, or of an interval that is none.
    """
    channels = _channels(options)
    derived = derived_of(options)
    if derived.bars and not {"aggTrade", "trade"}.intersection(channels):
        raise ConfigurationError(
            "--bars", ",".join(derived.bars), "needs trades: leave out --no-agg-trade, or add --trade"
        )
    for name, on in (("--tick-sizes", derived.ticks), ("--book-grid", derived.book_grid_ms)):
        if on is not None and "depth" not in channels:
            raise ConfigurationError(
                name, options[name[2:].replace("-", "_")], "needs the depth stream: add depth to --streams"
            )
    return Wanted(channels, tuple(_polls(options)), derived)


def derived_of(options: dict[str, Any]) -> Derived:
    """What the values of `derived_options` say.

    Raises:
        ConfigurationError: an interval of bars that is none.
    """
    names = ",".join(map(str, options["bars"])).split(",")
    intervals = tuple(name.strip() for name in names if name.strip())
    for name in intervals:
        try:
            interval_ms(name)
        except ValueError as error:
            raise ConfigurationError("--bars", name, str(error)) from error
    return Derived(
        bars=intervals,
        ticks=options["tick_sizes"],
        num_levels=options["num_levels"],
        ask_rounding=options["ask_rounding"],
        book_grid_ms=_GRID_MS[options["book_grid"]],
        book_depth=options["book_depth"],
    )


def _channels(options: dict[str, Any]) -> tuple[str, ...]:
    channels = {name.strip(): None for name in options["streams"].split(",") if name.strip()}
    for option, channel in _SWITCHES.items():
        _switch(channels, channel, options[option])
    for interval in options["kline"]:
        _switch(channels, f"kline_{interval}", True)
    if options["top_n"] is not None:
        for levels in ("5", "10", "20"):
            _switch(channels, f"depth{levels}", options["top_n"] == levels)
    return tuple(channels)


def _switch(channels: dict[str, None], channel: str, on: bool | None) -> None:
    if on:
        channels[channel] = None
    elif on is False:
        channels.pop(channel, None)


def _polls(options: dict[str, Any]) -> Iterable[Poll]:
    if options["order_book_snapshot"]:
        yield Poll("book", options["order_book_interval"], options["order_book_limit"])
    if options["open_interest_interval"] is not None:
        yield Poll("open_interest", options["open_interest_interval"])
