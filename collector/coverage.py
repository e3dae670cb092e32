"""What a collector says it has without a gap, so that the gaps of another one can be told to be none.

Rows of most streams prove by their ids what is there. Ids of best quotes have holes that mean nothing: only who
listened all the time knows that nothing lies in them. So once a minute each market gets an event `covered`, whose
detail is a `Statement` as JSON. It also says how many messages that were, so that an audit sees one that the store has
lost where no id would tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from collector.core.sequencer import Position

KIND = "covered"

UNCOUNTED = {"book_ticker": "update_id", "mark_price": "event_time", "liquidations": "event_time"}
"""Streams whose ids, or times, have holes that mean nothing, and the column that holds them."""


class Span(NamedTuple):
    """Every message of a stream with an id in after_id < id <= to_id."""

    after_id: int
    to_id: int


class Statement(msgspec.Struct):
    """The spans of each stream that `collector` (the journal's name for itself) has committed since the last one.

    `rows`, of `UNCOUNTED` streams, are the messages in each of their spans.
    """

    collector: str
    streams: dict[str, list[Span]]
    rows: dict[str, list[int]] = {}


class Coverage:
    """Follows the commits of one market. A span goes from commit to commit, and ends before any with a gap in it."""

    def __init__(self, collector: str) -> None:
        self._collector = collector
        self._begun: dict[str, Position] = {}
        self._reached: dict[str, Position] = {}
        self._ended: dict[str, list[Span]] = {}
        self._rows: dict[str, int] = {}
        self._ended_rows: dict[str, list[int]] = {}

    def committed(
        self,
        positions: Mapping[str, Position],
        broken: Iterable[str],
        ids: Mapping[str, NDArray[np.int64]] | None = None,
    ) -> None:
        """Everything up to `positions` is on disk, and between the commit before and this one `broken` had gaps.

        `ids` are those of the rows of `UNCOUNTED` streams.
        """
        for stream in broken:
            self._end(stream)
        for stream, found in (ids or {}).items():
            begun = self._begun.get(stream)
            if begun is not None and begun.last_id is not None:
                self._rows[stream] = self._rows.get(stream, 0) + int((found > begun.last_id).sum())
        for stream, position in positions.items():
            if position.last_id is not None:
                self._begun.setdefault(stream, position)
                self._reached[stream] = position

    def interrupted(self) -> None:
        """What comes next is not known to follow on what was committed."""
        for stream in list(self._begun):
            self._end(stream)

    def take(self) -> str | None:
        """The detail of the next event; None when there is nothing to say."""
        for stream, position in list(self._reached.items()):
            if stream in self._begun:
                self._end(stream)
                self._begun[stream] = position
        streams, self._ended = self._ended, {}
        rows, self._ended_rows = self._ended_rows, {}
        if not streams:
            return None
        return msgspec.json.encode(Statement(self._collector, streams, rows)).decode()

    def _end(self, stream: str) -> None:
        begun, reached, rows = self._begun.pop(stream, None), self._reached.get(stream), self._rows.pop(stream, 0)
        if begun is None or reached is None or begun.last_id is None or reached.last_id is None:
            return
        if begun.offset == reached.offset and begun.last_id < reached.last_id:
            self._ended.setdefault(stream, []).append(Span(begun.last_id, reached.last_id))
            if stream in UNCOUNTED:
                self._ended_rows.setdefault(stream, []).append(rows)


def broken_streams(batches: Iterable[Any]) -> set[str]:
    """The streams of which a market's batches state gaps."""
    return {stream for batch in batches if batch.table == "gaps" for stream in batch.columns["stream"]}


def uncounted_ids(batches: Iterable[Any]) -> dict[str, NDArray[np.int64]]:
    """The ids of a market's rows of `UNCOUNTED` streams."""
    found: dict[str, list[NDArray[np.int64]]] = {}
    for batch in batches:
        if batch.table in UNCOUNTED:
            found.setdefault(batch.table, []).append(np.asarray(batch.columns[UNCOUNTED[batch.table]], np.int64))
    return {stream: np.concatenate(ids) for stream, ids in found.items()}


decode_statement = msgspec.json.Decoder(Statement).decode
