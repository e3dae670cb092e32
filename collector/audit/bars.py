"""Bars and klines against the trades of the same store.

A bar that is complete holds exactly the trades of its time that were received before it was closed: those that came
later, or were fetched later, it cannot have. A kline holds all of its time, as the exchange counts them. Nothing is
said where trades may be missing, before the first and after the last one stored, and of what is longer than a day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from collector.audit.findings import Findings
from collector.audit.tape import Tape, TapeReader
from collector.core.bars import Bar, interval_ms
from collector.markets import FUTURES
from storage_backends.interface import Backend, Market

Row = dict[str, Any]

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_MS: Final = 1_000_000
_PRICES: Final = ("open", "high", "low", "close")
_SUMS: Final = ("volume", "quote_volume", "buy_volume", "sell_volume", "delta")
_KLINE_SUMS: Final = {"volume": 0, "quote_volume": 1, "taker_buy_volume": 2}


def check_bars(
    backend: Backend,
    market: Market,
    reader: TapeReader,
    findings: Findings,
    start_ns: int | None,
    end_ns: int | None,
    *,
    several: bool,
) -> None:
    """Finds the complete bars that are not what their trades make.

    Where there were `several` collectors, a bar may lack trades that another one received in time.
    """
    columns = ("open_time", "interval_ms", *_PRICES, *_SUMS, "trades", "complete", "recv_ns")

    def bars() -> Iterator[Row]:
        for batch in backend.scan("bars", market, start_ns, end_ns, columns):
            yield from batch.filter(batch.column("complete")).to_pylist()

    for row, tape in _with_trades(bars, reader):
        bar = tape.bar(row["open_time"], row["interval_ms"], row["recv_ns"])
        if several and bar.trades > row["trades"]:
            continue
        findings.of("bars").compared += 1
        what = _bar_differs(row, bar)
        if what is not None:
            findings.wrong("bars", row["open_time"] * _MS, f"{_length(row)}: {what}")


def check_klines(
    backend: Backend, market: Market, reader: TapeReader, findings: Findings, start_ns: int | None, end_ns: int | None
) -> None:
    """Finds the closed klines that are not what the stored trades make."""
    columns = ("open_time", "interval", *_PRICES, *_KLINE_SUMS, "trades", "closed")

    def klines() -> Iterator[Row]:
        for batch in backend.scan("klines", market, start_ns, end_ns, columns):
            for row in batch.filter(batch.column("closed")).to_pylist():
                try:
                    yield {**row, "interval_ms": interval_ms(row["interval"])}
                except ValueError:  # months have no one length
                    continue

    fewer = FUTURES.get(market.exchange, False)
    for row, tape in _with_trades(klines, reader):
        bar = tape.bar(row["open_time"], row["interval_ms"])
        if fewer and bar.trades < row["trades"]:
            continue  # it also counts fills of the insurance fund, which aggTrades leave out
        findings.of("klines").compared += 1
        what = _kline_differs(row, bar)
        if what is not None:
            findings.wrong("klines", row["open_time"] * _MS, f"{row['interval']}: {what}")


def _with_trades(rows: Callable[[], Iterator[Row]], reader: TapeReader) -> Iterator[tuple[Row, Tape]]:
    """Each row with the trades of its time, as far as they are all there; an hour at once, or one long row."""
    for longest, least in ((_HOUR_MS, 0), (_DAY_MS, _HOUR_MS)):
        chunk: list[Row] = []
        for row in rows():
            if not least < row["interval_ms"] <= longest or not reader.covers(row["open_time"], row["interval_ms"]):
                continue
            if chunk and row["open_time"] >= chunk[0]["open_time"] + longest:
                yield from _together(chunk, reader)
                chunk = []
            chunk.append(row)
        yield from _together(chunk, reader)


def _together(chunk: list[Row], reader: TapeReader) -> Iterator[tuple[Row, Tape]]:
    if not chunk:
        return
    tape = reader.read(chunk[0]["open_time"], max(row["open_time"] + row["interval_ms"] for row in chunk))
    for row in chunk:
        if not tape.doubtful(row["open_time"], row["interval_ms"]):
            yield row, tape


def _bar_differs(row: Row, bar: Bar) -> str | None:
    found: list[tuple[str, Any, Any]] = [("trades", row["trades"], bar.trades)]
    if bar.trades:  # an empty bar has the price before
        found += [(name, row[name], getattr(bar, name)) for name in _PRICES]
    found += list(zip(_SUMS, (row[name] for name in _SUMS), bar.sums, strict=True))
    return _first(found)


def _kline_differs(row: Row, bar: Bar) -> str | None:
    found: list[tuple[str, Any, Any]] = [("trades", row["trades"], bar.trades)]
    if bar.trades:
        found += [(name, row[name], getattr(bar, name)) for name in _PRICES]
    sums = bar.sums
    return _first(found) or next(
        (
            f"{name} is {row[name]}, the trades make {sums[at]}"
            for name, at in _KLINE_SUMS.items()
            if not np.isclose(row[name], sums[at], rtol=1e-9, atol=1e-7)  # the exchange rounds to its decimals
        ),
        None,
    )


def _first(found: list[tuple[str, Any, Any]]) -> str | None:
    return next((f"{name} is {was}, the trades make {made}" for name, was, made in found if was != made), None)


def _length(row: Row) -> str:
    return f"{row['interval_ms'] // 1000} s"
