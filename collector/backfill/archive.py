"""The exchange's own archive files (data.binance.vision): trades and klines of a day or a month, as zipped CSV.

Names are `BTCUSDT-aggTrades-2026-11-20.zip`, `BTCUSDT-trades-…` and `BTCUSDT-1m-…`, with `2026-11` for a month; a
`.csv` taken out of its zip will do. Spot's files have no header, futures' newer ones do. Times are in milliseconds, on
spot from 2025 on in microseconds. Spot and futures files bear the same names, so the number of columns of trades has to
fit too; of klines it is the same, and only folders tell.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import zipfile
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from collector.backfill.rows import KLINE, kline_table
from collector.errors import CollectorError
from storage_backends.schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAME = re.compile(r"(?P<symbol>[^-/]+)-(?P<kind>[A-Za-z0-9]+)-(?P<date>\d{4}-\d{2}(?:-\d{2})?)\.(?:zip|csv)")
_KIND = {"trades": "aggTrades", "raw_trades": "trades"}
_DAY_MS = 86_400_000
_LAST_MS = 253_402_300_799_999  # later numbers are microseconds
_BLOCK_BYTES = 4 << 20

_AGG = ("agg_trade_id", "price", "quantity", "first_id", "last_id", "timestamp", "is_buyer_maker", "best_match")
_TRADE = ("trade_id", "price", "quantity", "quote_quantity", "timestamp", "is_buyer_maker", "best_match")
_KLINE = (*KLINE, "ignored")
_FLOATS = {name for name in (*_AGG, *_TRADE, *_KLINE) if "price" in name or "quantity" in name or "volume" in name}
_FLOATS |= {"open", "high", "low", "close"}
_BOOLS = {"is_buyer_maker", "best_match"}


class ArchiveError(CollectorError):
    """A file is damaged, or is not what its name says; the message names it."""


class ArchiveFile(NamedTuple):
    """One file, and the span that it covers, in ms: [start_ms, end_ms)."""

    path: Path
    exchange: str
    start_ms: int
    end_ms: int


def find_archives(folder: Path, exchange: str, symbol: str, kind: str, start_ns: int, end_ns: int) -> list[ArchiveFile]:
    """The files below `folder` that hold `kind` (a table of trades, or a kline interval) of the span, oldest first.

    Where folders are laid out as on the server, those of other kinds of market are left out. Of a day that is there
    more than once, in its month's file for one, every file is given.
    """
    wanted = _KIND.get(kind, kind)
    found = []
    for path in sorted(folder.rglob(f"{symbol}-{wanted}-*")):
        match = _NAME.fullmatch(path.name)
        if match is None or match["kind"] != wanted or match["symbol"] != symbol or not _fits(path, folder, exchange):
            continue
        start_ms, end_ms = _span(match["date"])
        if start_ms * 1_000_000 < end_ns and end_ms * 1_000_000 > start_ns:
            found.append(ArchiveFile(path, exchange, start_ms, end_ms))
    return sorted(found, key=lambda one: (one.start_ms, one.end_ms, one.path))


def trade_rows(archive: ArchiveFile, channel: str, recv_ns: int) -> Iterator[pa.Table]:
    """The rows of a file of trades, some MB at a time, in the schema of `trades` or `raw_trades`.

    Raises:
        ArchiveError: the file is damaged, or of another kind or exchange.
    """
    schema = TABLES[channel].schema
    names = _AGG if channel == "trades" else _TRADE
    constant = {"recv_ns": pa.scalar(recv_ns, pa.int64()), "source": pa.scalar("archive")}
    for rows in _read(archive, names if archive.exchange == "binance" else names[:-1]):
        columns = {name: rows.column(name) for name in rows.column_names}
        columns["timestamp"] = _milliseconds(columns["timestamp"])
        filled = {
            field.name: columns[field.name]
            if field.name in columns
            else pa.repeat(constant[field.name], len(rows))
            if field.name in constant
            else pa.nulls(len(rows), field.type)
            for field in schema
        }
        yield pa.table(filled).cast(schema)


def kline_rows(archive: ArchiveFile, interval: str, recv_ns: int) -> Iterator[pa.Table]:
    """The rows of a file of klines, in the schema of `klines`. Raises as `trade_rows`."""
    for rows in _read(archive, _KLINE):
        columns: dict[str, Any] = {name: rows.column(name) for name in KLINE}
        columns["open_time"] = _milliseconds(columns["open_time"])
        columns["close_time"] = _milliseconds(columns["close_time"])
        yield kline_table(interval, columns, recv_ns, "archive")


def _fits(path: Path, folder: Path, exchange: str) -> bool:
    """Whether the folders on the way to a file, if they are the server's, are of this kind of market."""
    parts = path.relative_to(folder).parts[:-1] + folder.parts[-6:]
    others = {"um", "cm", "futures", "option"} if exchange == "binance" else {"spot", "cm", "option"}
    return not others & set(parts)


def _span(date: str) -> tuple[int, int]:
    day = dt.datetime.strptime(date if len(date) > 7 else f"{date}-01", "%Y-%m-%d").replace(tzinfo=dt.UTC)
    start_ms = int(day.timestamp()) * 1000
    if len(date) > 7:
        return start_ms, start_ms + _DAY_MS
    following = (day + dt.timedelta(days=32)).replace(day=1)
    return start_ms, int(following.timestamp()) * 1000


def _milliseconds(times: Any) -> Any:
    return pc.if_else(pc.greater(times, _LAST_MS), pc.divide(times, 1000), times)


def _read(archive: ArchiveFile, names: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    types = {name: pa.float64() if name in _FLOATS else pa.bool_() if name in _BOOLS else pa.int64() for name in names}
    types |= {"ignored": pa.string()} if "ignored" in names else {}
    with _damage(archive.path):
        _check_sum(archive.path)
        with _opened(archive.path) as file:
            first = file.readline().decode("ascii", "replace")
        if not first:
            return
        if first.count(",") + 1 != len(names):
            raise ArchiveError(
                f"{archive.path}: {first.count(',') + 1} columns where files of {archive.exchange} have {len(names)}: "
                "spot and futures have the same file names, keep their folders apart"
            )
        with _opened(archive.path) as file:
            reader = pa.csv.open_csv(
                file,
                pa.csv.ReadOptions(
                    use_threads=False,
                    block_size=_BLOCK_BYTES,
                    column_names=list(names),
                    skip_rows=0 if first[0].isdigit() else 1,
                ),
                convert_options=pa.csv.ConvertOptions(
                    column_types=types,
                    true_values=["true", "True", "1"],
                    false_values=["false", "False", "0"],
                    null_values=[],
                    strings_can_be_null=False,
                ),
            )
            yield from reader


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The CSV in a file, as bytes."""
    if path.suffix == ".csv":
        with path.open("rb") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive:
        inside = [name for name in archive.namelist() if name.endswith(".csv")]
        if len(inside) != 1:
            raise ArchiveError(f"{path}: {len(inside)} CSV files inside, where there should be one")
        with archive.open(inside[0]) as file:
            yield file


def _check_sum(path: Path) -> None:
    """Compares with the server's `.CHECKSUM` file, where it lies beside."""
    beside = path.with_name(path.name + ".CHECKSUM")
    if not beside.is_file():
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if beside.read_text().split()[:1] != [found]:
        raise ArchiveError(f"{path}: its content is not what {beside.name} says: download it again")


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, pa.ArrowException, UnicodeError) as error:
        raise ArchiveError(f"{path}: cannot be read ({error}): download it again") from error
    except OSError as error:
        raise ArchiveError(f"{path}: {error.strerror or error}") from error
