"""Bars made of stored trades, where the live ones could not have them all.

A bar of a live run lacks trades that came after it was closed: late ones, and those that were fetched for a gap. That
row stays as it is. Of rows with one key a scan gives the one that is complete, or has more trades, so the one made here
is what is read from then on. Bars that no session wrote, as between two of them, are added. Nothing is made where
trades may be missing still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from collector.audit.healing import read_remaining
from collector.audit.tape import Tape, TapeReader
from collector.backfill.outcome import Outcome, OutOfReach
from collector.backfill.sink import Sink
from collector.core.bars import Bar
from storage_backends.schema import TABLES

if TYPE_CHECKING:
    from collector.clock import Clock
    from storage_backends.interface import Backend, Market

Row = dict[str, Any]

_MS: Final = 1_000_000
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_PRICES: Final = ("open", "high", "low", "close")
_SUMS: Final = ("volume", "quote_volume", "buy_volume", "sell_volume", "delta")


class BarsBackfill:
    """One market's bars between two times, of every interval that is stored there and is at most a day."""

    def __init__(
        self,
        market: Market,
        start_ns: int,
        end_ns: int,
        backend: Backend,
        clock: Clock,
        *,
        max_rows: int,
        expect: Callable[[int], None],
        done: Callable[[int], None],
    ) -> None:
        self.outcome = Outcome(market.exchange, market.symbol, "bars")
        self._market = market
        self._window = start_ns, end_ns
        self._backend = backend
        self._clock = clock
        self._sink = Sink(backend, market, "bars", clock, max_rows=max_rows)
        self._reader = TapeReader(backend, market, read_remaining(backend, market))
        self._expect = expect
        self._done = done
        self._lacking = 0
        self._lacking_ms = (2**62, 0)

    def run(self) -> Outcome:
        """Makes what is not complete, not there, or lacks trades; all else stays.

        Raises:
            CollectorError: the store refused or failed.
        """
        spans, names = self._spans()
        for interval, (first_ms, last_ms) in spans.items():
            close: float | None = None
            for from_ms in range(first_ms, last_ms + 1, _DAY_MS):
                opens = range(from_ms, min(from_ms + _DAY_MS, last_ms + 1), interval)
                self._expect(len(opens))
                close = self._day(interval, names[interval], opens, close)
                self._done(len(opens))
        self._sink.flush()
        self.outcome.made = self._sink.rows
        if self._lacking:
            reason = f"trades are missing for {self._lacking:,} bars, which stay as they are"
            self.outcome.out_of_reach.append(OutOfReach(reason, from_ms=self._lacking_ms[0], to_ms=self._lacking_ms[1]))
        return self.outcome

    def _spans(self) -> tuple[dict[int, tuple[int, int]], dict[int, str]]:
        """Of each interval the first and the last bar's time that is stored, and what it is called."""
        spans: dict[int, tuple[int, int]] = {}
        names: dict[int, str] = {}
        columns = ("open_time", "interval_ms", "interval")
        for rows in self._backend.scan("bars", self._market, *self._window, columns):
            for open_ms, interval, name in zip(*(column.to_pylist() for column in rows.columns), strict=True):
                if interval <= _DAY_MS:
                    first_ms, _ = spans.get(interval, (open_ms, open_ms))
                    spans[interval], names[interval] = (first_ms, open_ms), name
        return spans, names

    def _day(self, interval: int, name: str, opens: range, close: float | None) -> float | None:
        """Makes those of some bars that want it; `close` is the last price before them. Gives the last one in them."""
        stored = {row["open_time"]: row for row in self._stored(interval, opens)}
        made: list[Row] = []
        for open_ms, tape in self._with_trades(interval, opens):
            row = stored.get(open_ms)
            bar = None if tape is None else tape.bar(open_ms, interval)
            if row is not None and row["complete"] and (bar is None or bar.trades <= row["trades"]):
                self.outcome.known += 1
                close = row["close"]
            elif bar is None:
                if self._reader.covers(open_ms, interval):  # else the store begins or ends with it
                    self._lack(open_ms, interval)
                close = close if row is None or row["close"] is None else row["close"]
            else:
                if close is None and row is not None:
                    close = row["close"]
                made.append(self._made(open_ms, interval, name, bar, close, row))
                close = made[-1]["close"]
        self._sink.add(pa.Table.from_pylist(made, schema=TABLES["bars"].schema))
        return close

    def _stored(self, interval: int, opens: range) -> Iterator[Row]:
        span_ns = opens[0] * _MS, (opens[-1] + 1) * _MS
        columns = ("open_time", "interval_ms", "close", "trades", "late_trades", "complete")
        for rows in self._backend.scan("bars", self._market, *span_ns, columns):
            yield from (row for row in rows.to_pylist() if row["interval_ms"] == interval)

    def _with_trades(self, interval: int, opens: range) -> Iterator[tuple[int, Tape | None]]:
        """Each of `opens` with the trades of its hour, or of itself if it is longer; None where some may be missing."""
        tape, until_ms = None, 0
        for open_ms in opens:
            if not self._reader.covers(open_ms, interval):
                yield open_ms, None
                continue
            if tape is None or open_ms + interval > until_ms:
                until_ms = open_ms + max(interval, _HOUR_MS // interval * interval)
                tape = self._reader.read(open_ms, until_ms)
            yield open_ms, None if tape.doubtful(open_ms, interval) else tape

    def _made(self, open_ms: int, interval: int, name: str, bar: Bar, close: float | None, row: Row | None) -> Row:
        empty = bar.open is None
        prices = (close,) * 4 if empty else (bar.open, bar.high, bar.low, bar.close)
        return {
            "open_time": open_ms,
            "interval_ms": interval,
            "interval": name,
            **dict(zip(_PRICES, prices, strict=True)),
            **dict(zip(_SUMS, bar.sums, strict=True)),
            "trades": bar.trades,
            "empty": empty,
            # What the live run noticed while this bar was open; it is in the bars before by now.
            "late_trades": 0 if row is None else row["late_trades"],
            "complete": True,
            "recv_ns": self._clock.now_ns(),
        }

    def _lack(self, open_ms: int, interval: int) -> None:
        self._lacking += 1
        self._lacking_ms = min(self._lacking_ms[0], open_ms), max(self._lacking_ms[1], open_ms + interval)
