"""Trades of a stretch of time, to make bars of: those that are stored, and whether some may be missing among them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.audit.batches import Columns, Ints
from collector.core.bars import Bar, ExactColumns, ExactTrades
from collector.core.flow import Trades
from collector.core.gaps import Gap
from collector.core.ids import IdRanges
from collector.markets import FUTURES
from storage_backends.interface import Backend, Market

if TYPE_CHECKING:
    import pyarrow as pa

_MS: Final = 1_000_000
_CLOCKS_MS: Final = 5_000
"""By how much the exchange's clock, which trades go by, may differ from ours, which gaps go by."""

_IN_BARS: Final = (None, "MARKET")
"""Kinds of single trades that are in aggTrades, and so in bars."""

_SHARED: Final = ("recv_ns", "timestamp", "price", "quantity", "is_buyer_maker")
_OWN: Final = {"trades": ("agg_trade_id", "first_id", "last_id"), "raw_trades": ("trade_id", "order_type")}
_NO_INTS: Final[Ints] = np.empty(0, np.int64)


class Tape(NamedTuple):
    """`exact` has the order of ids, and is None where there are no trades; `order` is the one of time.

    `doubt` are the ms in which trades may be missing.
    """

    exact: ExactTrades | None
    recv_ns: Ints
    order: Ints
    times_ms: Ints
    doubt: IdRanges

    def bar(self, open_ms: int, interval: int, before_ns: int | None = None) -> Bar:
        """The bar of the trades received before `before_ns`, or of all."""
        low, high = np.searchsorted(self.times_ms, (open_ms, open_ms + interval))
        chosen = np.sort(self.order[low:high])
        if before_ns is not None:
            chosen = chosen[self.recv_ns[chosen] < before_ns]
        bar = Bar()
        if self.exact is not None and len(chosen):
            bar.add(self.exact.take(chosen))
        return bar

    def doubtful(self, open_ms: int, interval: int) -> bool:
        """Whether a trade of that time may be missing."""
        return self.doubt.touches(open_ms, open_ms + interval - 1)


class TapeReader:
    """Reads tapes of one market: of `trades`, or of `raw_trades` where there are none."""

    def __init__(self, backend: Backend, market: Market, gaps: Iterable[Gap]) -> None:
        self._backend = backend
        self._market = market
        self.table = "trades" if backend.stats("trades", market).rows else "raw_trades"
        stats = backend.stats(self.table, market)
        # Up to the ends, as tables reach the store at different moments.
        self._first_ms = 2**62 if stats.first_ns is None else stats.first_ns // _MS
        self._last_ms = 0 if stats.last_ns is None else stats.last_ns // _MS
        self._counted = market.exchange in FUTURES  # elsewhere ids have holes that mean nothing
        self._gaps = IdRanges(
            self._missing_ms(gap)
            for gap in gaps
            if gap.stream == self.table and not gap.healed and not _nothing_missing(gap)
        )

    def covers(self, open_ms: int, interval: int) -> bool:
        """Whether trades are stored from before that time until after it."""
        return self._first_ms <= open_ms and open_ms + interval <= self._last_ms

    def read(self, from_ms: int, to_ms: int) -> Tape:
        """The trades of [from_ms, to_ms)."""
        parts = [self._columns(rows) for rows in self._scan(from_ms, to_ms)]
        doubt = IdRanges(self._gaps)
        if not parts:
            return Tape(None, _NO_INTS, _NO_INTS, _NO_INTS, doubt)
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        if self._counted:
            ids, times = columns["agg_id"], columns["timestamp_ms"]
            for at in np.flatnonzero(np.diff(ids) != 1).tolist():
                doubt.add(*sorted((int(times[at]), int(times[at + 1]))))
        kept = columns.pop("kept")
        trades = Trades(**{name: values[kept] for name, values in columns.items()})
        if not len(trades):
            return Tape(None, _NO_INTS, _NO_INTS, _NO_INTS, doubt)
        order = np.argsort(trades.timestamp_ms, kind="stable")
        return Tape(ExactColumns().of(trades), trades.recv_ns, order, trades.timestamp_ms[order], doubt)

    def _missing_ms(self, gap: Gap) -> tuple[int, int]:
        """The ms, by the exchange's clock, that a gap's trades lie in: between its neighbours, if these are stored."""
        from_ms, to_ms = gap.from_ns // _MS, 2**62 if gap.to_ns is None else gap.to_ns // _MS
        near = from_ms - _CLOCKS_MS, min(to_ms + _CLOCKS_MS, 2**62)
        if not self._counted or gap.from_id is None or gap.to_id is None or gap.to_ns is None:
            return near
        found: dict[int, int] = {}
        ident = _OWN[self.table][0]
        names = (ident, "timestamp")
        for rows in self._backend.scan(self.table, self._market, near[0] * _MS, near[1] * _MS, names):
            columns = Columns(rows)
            for wanted in (gap.from_id - 1, gap.to_id + 1):
                for at in np.flatnonzero(columns[ident] == wanted).tolist():
                    found[wanted] = int(columns["timestamp"][at])
        return found.get(gap.from_id - 1, near[0]), found.get(gap.to_id + 1, near[1])

    def _scan(self, from_ms: int, to_ms: int) -> Iterator[pa.RecordBatch]:
        names = (*_SHARED, *_OWN[self.table])
        return self._backend.scan(self.table, self._market, from_ms * _MS, to_ms * _MS, names)

    def _columns(self, rows: pa.RecordBatch) -> dict[str, NDArray[Any]]:
        """Those of `Trades`, and which of the rows are in bars."""
        columns = Columns(rows)
        found = {name: columns[name] for name in _SHARED if name != "timestamp"}
        found["timestamp_ms"] = columns["timestamp"]
        if self.table == "trades":
            found |= {name: columns[name] for name in ("first_id", "last_id")}
            found["agg_id"], found["kept"] = columns["agg_trade_id"], np.ones(columns.rows, np.bool_)
        else:
            found |= dict.fromkeys(("agg_id", "first_id", "last_id"), columns["trade_id"])
            kinds = rows.column("order_type").to_pylist()
            found["kept"] = np.array([kind in _IN_BARS for kind in kinds], np.bool_)
        return found


def _nothing_missing(gap: Gap) -> bool:
    return gap.from_id is not None and gap.to_id is not None and gap.to_id < gap.from_id
