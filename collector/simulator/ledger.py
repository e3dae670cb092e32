"""What was sent: the ids of every stream, so that a test can ask whether each was stored or lies in a gap."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

from collector.simulator.faults import Fate
from collector.simulator.packed import PackedRows

if TYPE_CHECKING:
    from pathlib import Path

    from collector.simulator.messages import Message

_KEEP = 500_000
_CHUNK = 4096

_Key = tuple[str, str, str, int | None]


class _Stream:
    def __init__(self, file: Path | None) -> None:
        self.ids = PackedRows(_KEEP, 1, int)
        self.dropped = PackedRows(_KEEP, 1, int)
        self.damaged = PackedRows(_KEEP, 1, int)
        self.total = 0
        self._file = file
        self._unwritten = array("q")
        if file is not None:
            file.write_bytes(b"")  # what an earlier run left there is not what this one sent

    def add(self, message_id: int) -> None:
        self.total += 1
        self.ids.append(message_id)
        if self._file is not None:
            self._unwritten.append(message_id)
            if len(self._unwritten) >= _CHUNK:
                self.written()

    def written(self) -> str | None:
        """The file with every id, if there is one."""
        if self._file is None:
            return None
        with self._file.open("ab") as file:
            self._unwritten.tofile(file)
        del self._unwritten[:]
        return str(self._file)


class Ledger:
    """Ids by stream, in the order of sending. An id is sent once a socket took it, however many sockets did.

    The newest half million of each stream are in memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """
        Args:
            folder: where every id is written as well, a file a stream, 64 bits each in the machine's order.

        Raises:
            OSError: the folder cannot be made.
        """
        self._streams: dict[_Key, _Stream] = {}
        self._folder = folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def record(self, message: Message, fate: Fate) -> None:
        """Notes one message; call it once for each time that it went out."""
        key = (message.exchange, message.symbol, message.channel, message.speed_ms)
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = _Stream(self._file(key))
        if fate is Fate.DROPPED:
            stream.dropped.append(message.id)
            return
        stream.add(message.id)
        if fate is Fate.DAMAGED:
            stream.damaged.append(message.id)

    def sent(self, exchange: str, symbol: str, channel: str, speed_ms: int | None) -> dict[str, Any]:
        """`sent`: ids in order, duplicates twice; `dropped`: never sent; `damaged`: sent, unusable (also in `sent`).

        `speed_ms` None gives the only speed that there is; `truncated` tells that older ids were forgotten, and `file`
        where they all are, if a folder was named.

        Raises:
            ValueError: several speeds were sent and none is named.
            OSError: the file cannot be written.
        """
        found = [
            stream
            for key, stream in self._streams.items()
            if key[:3] == (exchange, symbol, channel) and (speed_ms is None or key[3] in (None, speed_ms))
        ]
        if len(found) > 1:
            raise ValueError(f"{channel} was sent at several speeds; name one, as in {channel}@100ms")
        stream = found[0] if found else _Stream(None)
        return {
            "sent": list(stream.ids),
            "dropped": list(stream.dropped),
            "damaged": list(stream.damaged),
            "truncated": stream.total > len(stream.ids),
            "file": stream.written(),
        }

    def flush(self) -> None:
        """Writes what is not in the files yet."""
        for stream in self._streams.values():
            stream.written()

    def _file(self, key: _Key) -> Path | None:
        return None if self._folder is None else self._folder / f"{key[0]}-{_name(key)}.ids"

    def counts(self) -> dict[str, int]:
        """Messages sent by stream."""
        return {f"{key[0]} {_name(key)}": stream.total for key, stream in self._streams.items()}


def _name(key: _Key) -> str:
    """As clients name the stream."""
    _, symbol, channel, speed_ms = key
    return f"{symbol.lower()}@{channel}" + (f"@{speed_ms}ms" if speed_ms else "")
