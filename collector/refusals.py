"""Rows that had to be refused: what of each stream went missing, until a gap can say so."""

from __future__ import annotations

from collections.abc import Iterable

from collector.core.batch import Batch
from collector.core.inputs import Refused
from storage_backends.interface import Market

KEPT = frozenset({"gaps", "events", "clock"})
"""Tables small enough to wait in memory; they say what happened to the others."""

_STREAMS = {
    "diffs": ("depth", "last_id", "recv_ns"),
    "trades": ("trades", "agg_trade_id", "recv_ns"),
    "raw_trades": ("raw_trades", "trade_id", "recv_ns"),
    "book_ticker": ("book_ticker", "update_id", "recv_ns"),
}


class Refusals:
    """Ranges by market and stream; each grows until it is taken."""

    def __init__(self) -> None:
        self._ranges: dict[tuple[Market, str], Refused] = {}

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def add(self, batches: Iterable[tuple[Market, Batch]], reason: str) -> None:
        """Takes note of what is lost with `batches`, which must not be of `KEPT` tables."""
        for market, batch in batches:
            if batch.table not in _STREAMS:
                continue
            stream, ident, at = _STREAMS[batch.table]
            ids = [int(one) for one in batch.columns[ident]]  # type: ignore[union-attr]
            times = [int(one) for one in batch.columns[at]]  # type: ignore[union-attr]
            first, last = _first_missing(batch, ids), max(ids)
            known = self._ranges.get((market, stream))
            if known is None:
                self._ranges[market, stream] = Refused(stream, reason, first, last, min(times), max(times))
            else:
                assert known.from_id is not None
                assert known.to_id is not None
                known.from_id, known.to_id = min(known.from_id, first), max(known.to_id, last)
                known.from_ns, known.to_ns = min(known.from_ns, *times), max(known.to_ns, *times)

    def take(self) -> list[tuple[Market, Refused]]:
        """All ranges so far; forgets them."""
        ranges, self._ranges = self._ranges, {}
        return [(market, refused) for (market, _), refused in ranges.items()]


def _first_missing(batch: Batch, ids: list[int]) -> int:
    """A diff stands for all updates since the one that it follows on."""
    if batch.table != "diffs":
        return min(ids)
    prev = batch.columns["prev_id"]
    assert isinstance(prev, list)
    if prev[0] is not None:
        return int(min(prev)) + 1
    return int(min(batch.columns["first_id"]))  # type: ignore[arg-type]
