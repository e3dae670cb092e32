"""What was sent: the ids of every stream, so that a test can ask whether each was stored or lies in a gap."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from collector.simulator.faults import Fate

if TYPE_CHECKING:
    from collector.simulator.messages import Message

_KEEP = 500_000

_Key = tuple[str, str, str, int | None]


class _Stream:
    def __init__(self) -> None:
        self.ids: deque[int] = deque(maxlen=_KEEP)
        self.dropped: list[int] = []
        self.damaged: list[int] = []
        self.total = 0


class Ledger:
    """Ids by stream, in the order of sending. An id is sent once a socket took it, however many sockets did."""

    def __init__(self) -> None:
        self._streams: dict[_Key, _Stream] = {}

    def record(self, message: Message, fate: Fate) -> None:
        """Notes one message; call it once for each time that it went out."""
        key = (message.exchange, message.symbol, message.channel, message.speed_ms)
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = _Stream()
        if fate is Fate.DROPPED:
            stream.dropped.append(message.id)
            return
        stream.total += 1
        stream.ids.append(message.id)
        if fate is Fate.DAMAGED:
            stream.damaged.append(message.id)

    def sent(self, exchange: str, symbol: str, channel: str, speed_ms: int | None) -> dict[str, Any]:
        """`sent`: ids in order, duplicates twice; `dropped`: never sent; `damaged`: sent, unusable (also in `sent`).

        `speed_ms` None gives the only speed that there is; `truncated` tells that older ids were forgotten.

        Raises:
            ValueError: several speeds were sent and none is named.
        """
        found = [
            stream
            for key, stream in self._streams.items()
            if key[:3] == (exchange, symbol, channel) and (speed_ms is None or key[3] in (None, speed_ms))
        ]
        if len(found) > 1:
            raise ValueError(f"{channel} was sent at several speeds; name one, as in {channel}@100ms")
        stream = found[0] if found else _Stream()
        return {
            "sent": list(stream.ids),
            "dropped": stream.dropped,
            "damaged": stream.damaged,
            "truncated": stream.total > len(stream.ids),
        }

    def counts(self) -> dict[str, int]:
        """Messages sent by stream."""
        return {
            f"{exchange} {symbol.lower()}@{channel}" + (f"@{speed_ms}ms" if speed_ms else ""): stream.total
            for (exchange, symbol, channel, speed_ms), stream in self._streams.items()
        }
