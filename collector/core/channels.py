"""Names of streams: the exchange's channels, what the core calls them, and the tables that hold them.

The core and table `gaps` call a stream by its table, where that table holds no other. Klines of several intervals and
partial books of several depths share a table, so these keep the exchange's name: a gap in one says nothing of another.
"""

from __future__ import annotations

import re
from typing import Final

_TABLE_NAMED: Final = {
    "depth": "depth",
    "aggTrade": "trades",
    "trade": "raw_trades",
    "bookTicker": "book_ticker",
    "markPrice": "mark_price",
    "forceOrder": "liquidations",
}
_EXCHANGE_NAMED: Final = {stream: channel for channel, stream in _TABLE_NAMED.items()}
_PARTIAL = re.compile(r"depth(5|10|20)")
_KLINE = re.compile(r"kline_(1s|1m|3m|5m|15m|30m|1h|2h|4h|6h|8h|12h|1d|3d|1w|1M)")

CHANNELS: Final = (*_TABLE_NAMED, "depth5", "depth10", "depth20", "kline_1m")
"""The exchange's channels that are collected; `kline_1m` stands for every interval that the exchange has."""


def is_channel(channel: str) -> bool:
    """Whether this is a channel of the exchange that is collected."""
    return channel in _TABLE_NAMED or is_partial(channel) or is_kline(channel)


def is_partial(channel: str) -> bool:
    """Whether the channel's messages are whole best levels."""
    return _PARTIAL.fullmatch(channel) is not None


def is_kline(channel: str) -> bool:
    """Whether the channel brings klines, of an interval that the exchange has."""
    return _KLINE.fullmatch(channel) is not None


def stream_of(channel: str) -> str:
    """What the core calls the exchange's `channel`."""
    return _TABLE_NAMED.get(channel, channel)


def channel_of(stream: str) -> str:
    """The exchange's channel of what the core calls `stream`."""
    return _EXCHANGE_NAMED.get(stream, stream)


def table_of(stream: str) -> str:
    """The table that holds what the core calls `stream`."""
    if stream == "depth":
        return "diffs"
    if is_partial(stream):
        return "partial_depth"
    return "klines" if is_kline(stream) else stream
