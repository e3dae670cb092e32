"""Rows that had to be refused: what of each stream went missing, until a gap can say so."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from collector.core.batch import Batch
from collector.core.epochs import SECOND_NS
from collector.core.gaps import Gap, GapLedger
from collector.core.inputs import Refused
from collector.core.records import rows_batch
from storage_backends.interface import Market

KEPT = frozenset({"gaps", "events", "clock"})
"""Tables small enough to wait in memory; they say what happened to the others."""

WAITING = KEPT | {"quality"}
"""Tables that wait while the journal has no room. Quality says why the others are missing; it is the first to go."""

BY_BACKEND = "refused by the backend"
"""Reason of a gap whose rows are in the journal's dead letters: not lost, and refused again if they came again."""
KEPT_BYTES = 64 << 20
"""How much of them waits while the journal takes nothing: a day of ordinary events of 50 markets."""

_EVENT_BYTES = 500
"""What an event without a text takes in memory, about."""

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


class Kept:
    """Rows of `WAITING` tables that wait in memory for a journal that takes nothing, up to `KEPT_BYTES`.

    What could grow without a bound are events, since a quarantined frame stands in one. Beyond the bound the newest are
    left out and counted. Quality has half of the room at the most, and gaps are always kept.
    """

    def __init__(self, max_bytes: int = KEPT_BYTES) -> None:
        self.batches: list[tuple[Market, Batch]] = []
        self._max_bytes = max_bytes
        self._bytes = 0
        self._left_out: dict[Market, tuple[int, int, int]] = {}  # events, first and last time

    def __bool__(self) -> bool:
        return bool(self.batches)

    def keep(self, batches: Iterable[tuple[Market, Batch]]) -> list[tuple[Market, Batch]]:
        """Makes `batches`, what was kept before among them, all that waits; leaves out what is too much.

        Returns:
            What was left out of quality, to be a gap.
        """
        self.batches, self._bytes = [], 0
        too_much = []
        for market, batch in batches:
            size = _size(batch)
            if batch.table == "quality" and self._bytes + size > self._max_bytes // 2:
                too_much.append((market, batch))
            elif batch.table == "events" and self._bytes + size > self._max_bytes:
                self._leave_out(market, batch)
            else:
                self.batches.append((market, batch))
                self._bytes += size
        return too_much

    def take_left_out(self) -> list[tuple[Market, str]]:
        """What to say of each market's events that were left out; forgets them."""
        left_out, self._left_out = self._left_out, {}
        return [
            (
                market,
                f"{events} events from {first_ns} to {last_ns} found no room in memory, quarantined frames included",
            )
            for market, (events, first_ns, last_ns) in left_out.items()
        ]

    def _leave_out(self, market: Market, batch: Batch) -> None:
        times = [int(one) for one in batch.columns["time_ns"]]  # type: ignore[union-attr]
        events, first_ns, last_ns = self._left_out.get(market, (0, times[0], times[0]))
        self._left_out[market] = (events + batch.rows, min(first_ns, *times), max(last_ns, *times))


def _size(batch: Batch) -> int:
    texts = batch.columns.get("text", [])
    assert isinstance(texts, list)
    return _EVENT_BYTES * batch.rows + sum(len(text) for text in texts if text is not None)


def gap_rows(refusals: Iterable[tuple[Market, Refused]], detected_ns: int) -> list[tuple[Market, Batch]]:
    """The gaps that state refusals, for when no market runs that could."""
    rows = []
    for number, (market, one) in enumerate(refusals):
        ledger = GapLedger()
        # A gap is known by stream, reason and first id, which may be unknown, and this time.
        at_ns = detected_ns + number
        ledger.record(one.stream, one.reason, one.from_id, one.to_id, one.from_ns, one.to_ns, at_ns)
        values = [msgspec.structs.astuple(row) for row in ledger.rows]
        rows.append((market, rows_batch("gaps", Gap.__struct_fields__, values)))
    return rows


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
