"""A message on its way into a row."""

from __future__ import annotations

from typing import Any

import msgspec

from collector.core.decode import Undecodable, decode_rest_trade, rest_rows


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A message that waits to be parsed, with the frame it came in."""

    recv_ns: int
    connection: int
    message: Any
    text: str | bytes
    source: str = "ws"


def fetched_entries(
    recv_ns: int, channel: str, symbol: str, body: msgspec.Raw
) -> tuple[list[Entry], list[tuple[bytes, str]]]:
    """The trades of a REST answer; and each text in it that holds none, with the reason."""
    try:
        rows = rest_rows(body)
    except Undecodable as error:
        return [], [(bytes(body), str(error))]
    entries, unreadable = [], []
    for row in rows:
        text = bytes(row)
        try:
            entries.append(Entry(recv_ns, 0, decode_rest_trade(channel, symbol, row), text, "rest"))
        except Undecodable as error:
            unreadable.append((text, str(error)))
    return entries, unreadable
