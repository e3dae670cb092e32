"""Binance's stream names, and which of the futures connections carries them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from collector.core.channels import is_kline, is_partial
from collector.errors import ConfigurationError
from collector.sources.feed import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_NAMES_PER_CONNECTION = 200  # names in one SUBSCRIBE that the exchange takes

_BOTH = ("depth", "aggTrade", "trade", "bookTicker", "depth5", "depth10", "depth20")
_FUTURES_ONLY = ("markPrice", "forceOrder")
_DEPTH_SPEEDS_MS = {"binance": (100, 1000), "binanceusdm": (100, 250, 500)}
_UNSUFFIXED_MS = {"binance": 1000, "binanceusdm": 250}


def check_channel(exchange: str, channel: str) -> None:
    """Refuses what the exchange would acknowledge and then never send.

    Raises:
        ConfigurationError: no such channel on this exchange.
    """
    known = list(_BOTH) + (list(_FUTURES_ONLY) if exchange == "binanceusdm" else [])
    if channel in known or (is_kline(channel) and not (channel == "kline_1s" and exchange != "binance")):
        return
    raise ConfigurationError("--streams", repr(channel), f"{exchange} has {', '.join(known)}, kline_1m and such")


def channels_there(exchange: str, channels: Sequence[str]) -> tuple[str, ...]:
    """Those of `channels` that the exchange has; where several exchanges are collected, each gives what it has."""
    found = []
    for channel in channels:
        try:
            check_channel(exchange, channel)
        except ConfigurationError:
            continue
        found.append(channel)
    return tuple(found)


def check_depth_speed(exchange: str, speed_ms: int | None) -> None:
    """Refuses a speed of the depth streams that the exchange does not have; None is its slowest.

    Raises:
        ConfigurationError: no such speed.
    """
    speeds = _DEPTH_SPEEDS_MS[exchange]
    if speed_ms is not None and speed_ms not in speeds:
        raise ConfigurationError(
            "--depth-speed", f"{speed_ms}ms", f"{exchange} offers {', '.join(f'{one}ms' for one in speeds)}"
        )


def stream_name(exchange: str, channel: str, symbol: str, depth_speed_ms: int | None) -> str:
    """The exchange's name, as in `btcusdt@depth@100ms`."""
    name = f"{symbol.lower()}@{channel}"
    if channel.startswith("depth") and depth_speed_ms not in (None, _UNSUFFIXED_MS[exchange]):
        return f"{name}@{depth_speed_ms}ms"
    return f"{name}@1s" if channel == "markPrice" else name


def routing_channel(channel: str) -> str:
    """The channel under which ccxt knows the route: it files `depth20` under /market, the exchange under /public."""
    return "depth" if is_partial(channel) else channel


def streams_of(
    exchange: str, channels: Sequence[str], symbols: Sequence[str], depth_speed_ms: int | None
) -> Iterator[tuple[str, tuple[Stream, ...]]]:
    """(channel, streams) of each connection: one channel, at most `MAX_NAMES_PER_CONNECTION` markets."""
    for channel in dict.fromkeys(channels):
        rest = iter(symbols)
        while chunk := tuple(islice(rest, MAX_NAMES_PER_CONNECTION)):
            names = (stream_name(exchange, channel, symbol, depth_speed_ms) for symbol in chunk)
            yield channel, tuple(Stream(symbol, channel, name) for symbol, name in zip(chunk, names, strict=True))
