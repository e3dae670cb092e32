"""Rows that had to be refused: what of each stream went missing, until a gap can say so."""

from __future__ import annotations

from collections.abc import Iterable

from collector.core.batch import Batch
from collector.core.epochs import SECOND_NS
from collector.core.inputs import Refused
from storage_backends.interface import Market

KEPT = frozenset({"gaps", "events", "clock"})
"""Tables small enough to wait in memory; they say what happened to the others."""

BY_BACKEND = "refused by the backend"
"""Reason of a gap whose rows are in the journal's dead letters: not lost, and refused again if they came again."""

_STREAMS = {
    "diffs": ("depth", "last_id", "recv_ns"),
    "trades": ("trades", "agg_trade_id", "recv_ns"),
    "raw_trades": ("raw_trades", "trade_id", "recv_ns"),
    "book_ticker": ("book_ticker", "update_id", "recv_ns"),
    "snapshots": ("snapshots", "last_update_id", "recv_ns"),
}


_TIMES = {"epoch": SECOND_NS, "timestamp": 1_000_000, "recv_ns": 1}
"""Columns that are never null and say when a row is from, and their unit in ns; the first that a table has counts."""


class Refusals:
    """Ranges by market and stream; each grows until it is taken."""

    def __init__(self) -> None:
        self._ranges: dict[tuple[Market, str, str], Refused] = {}  # by market, table and where rows came from

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def add(self, batches: Iterable[tuple[Market, Batch]], reason: str) -> None:
        """Takes note of what is lost with `batches`, which must not be of `KEPT` tables."""
        for market, batch in batches:
            if batch.table == "depth":
                self._add(market, batch.table, "", _refused_epochs(batch, reason))
            elif batch.table in _STREAMS:
                for source in sorted(set(_sources(batch))):
                    self._add(market, batch.table, source, _refused_messages(batch, reason, source))
            else:
                self._add(market, batch.table, "", _refused_times(batch, reason))

    def take(self) -> list[tuple[Market, Refused]]:
        """All ranges so far; forgets them."""
        ranges, self._ranges = self._ranges, {}
        return [(market, refused) for (market, *_), refused in ranges.items()]

    def _add(self, market: Market, table: str, source: str, refused: Refused) -> None:
        known = self._ranges.setdefault((market, table, source), refused)
        if known.from_id is not None and refused.from_id is not None:
            known.from_id = min(known.from_id, refused.from_id)
        if known.to_id is not None and refused.to_id is not None:
            known.to_id = max(known.to_id, refused.to_id)
        known.from_ns, known.to_ns = min(known.from_ns, refused.from_ns), max(known.to_ns, refused.to_ns)


def _sources(batch: Batch) -> list[str]:
    """Where each row came from. Trades that were fetched for an old gap say nothing of those between it and now."""
    sources = batch.columns.get("source")
    return sources if isinstance(sources, list) else ["ws"] * batch.rows


def _refused_messages(batch: Batch, reason: str, source: str) -> Refused:
    stream, ident, at = _STREAMS[batch.table]
    mine = [one == source for one in _sources(batch)]
    ids = [int(one) for one, own in zip(batch.columns[ident], mine, strict=True) if own]  # type: ignore[arg-type]
    times = [int(one) for one, own in zip(batch.columns[at], mine, strict=True) if own]  # type: ignore[arg-type]
    return Refused(stream, reason, _first_missing(batch, ids), max(ids), min(times), max(times))


def _refused_times(batch: Batch, reason: str) -> Refused:
    """Rows of a table without ids that count, or of one that is computed: their times are all that can be said."""
    for column, unit_ns in _TIMES.items():
        if column in batch.columns:
            times = [int(one) * unit_ns for one in batch.columns[column]]  # type: ignore[union-attr]
            break
    return Refused(batch.table, reason, None, None, min(times), max(times))


def _refused_epochs(batch: Batch, reason: str) -> Refused:
    """Rows of `depth` hold no message; without them, though, there is not one for each epoch."""
    epochs = batch.columns["epoch"]
    assert isinstance(epochs, list)
    return Refused("depth", reason, None, None, min(epochs) * SECOND_NS, max(epochs) * SECOND_NS)


def _first_missing(batch: Batch, ids: list[int]) -> int:
    """A diff stands for all updates since the one that it follows on."""
    if batch.table != "diffs":
        return min(ids)
    prev = batch.columns["prev_id"]
    assert isinstance(prev, list)
    if prev[0] is not None:
        return int(min(prev)) + 1
    return int(min(batch.columns["first_id"]))  # type: ignore[arg-type]
