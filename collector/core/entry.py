"""A message on its way into a row."""

from __future__ import annotations

from typing import Any

import msgspec


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A message that waits to be parsed, with the frame it came in."""

    recv_ns: int
    connection: int
    message: Any
    text: str | bytes
    source: str = "ws"
