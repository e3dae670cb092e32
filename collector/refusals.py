"""Rows that had to be refused: what of each stream went missing, until a gap can say so."""

from __future__ import annotations

from collections.abc import Iterable

from collector.core.batch import Batch
from collector.core.epochs import SECOND_NS
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
            if batch.table == "depth":
                # An epoch stands for no message, but its row is missing too.
                times = [int(epoch) * SECOND_NS for epoch in batch.columns["epoch"]]  # type: ignore[union-attr]
                self._widen(market, Refused("depth", reason, None, None, min(times), max(times)))
            elif batch.table in _STREAMS:
                stream, ident, at = _STREAMS[batch.table]
                ids = [int(one) for one in batch.columns[ident]]  # type: ignore[union-attr]
                times = [int(one) for one in batch.columns[at]]  # type: ignore[union-attr]
                first = _first_missing(batch, ids)
                self._widen(market, Refused(stream, reason, first, max(ids), min(times), max(times)))

    def _widen(self, market: Market, more: Refused) -> None:
        known = self._ranges.setdefault((market, more.stream), more)
        if more.from_id is not None and more.to_id is not None:
            known.from_id = more.from_id if known.from_id is None else min(known.from_id, more.from_id)
            known.to_id = more.to_id if known.to_id is None else max(known.to_id, more.to_id)
        known.from_ns, known.to_ns = min(known.from_ns, more.from_ns), max(known.to_ns, more.to_ns)

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
