"""Row keys: market first, then table, then time from the newest to the oldest, then what else the key has.

    {exchange}#{symbol}#{table}#{inverted time}[#{key column}…]      a row
    {exchange}#{symbol}#{table}!{inverted start in seconds}          one slice of time that has rows (`index`)

Inverted time is as many nines as the table's unit has digits today (10 for s, 13 for ms, 19 for ns) minus the time.
Names hold no `#`, `!` or `$` (`interface.legal`), so `$`, the sign behind `#`, ends every range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, unquote

from storage_backends.interface import Market, legal

if TYPE_CHECKING:
    from storage_backends.layout import TimeRange
    from storage_backends.schema import Table

DATA_TABLE: Final = "market_data"
DATA_FAMILY: Final = "data"
INDEX_FAMILY: Final = "index"
LEGACY_TABLE: Final = "binance_btc_depth"
LEGACY_FAMILY: Final = "data"

MAX_KEY_BYTES: Final = 4096
"""Bigtable's limit on a row key; the emulator has none."""

_DIGITS: Final = {"s": 10, "ms": 13, "ns": 19}


class KeyRange(NamedTuple):
    """Row keys from `start` on and before `end`."""

    start: bytes
    end: bytes


class Stored(NamedTuple):
    """What a row key tells. `time` is in the table's unit; of an index row, the slice's start in seconds."""

    market: Market
    table: str
    of_index: bool
    time: int


def latest(unit: str) -> int:
    """The last time that a key can hold, in that unit."""
    return int("9" * _DIGITS[unit])


def data_prefix(table: str, market: Market) -> str:
    """What the keys of a market's rows in a table begin with."""
    return f"{market.exchange}#{market.symbol}#{table}#"


def index_prefix(table: str, market: Market) -> str:
    """What the keys of their index begin with."""
    return f"{market.exchange}#{market.symbol}#{table}!"


def row_keys(table: Table, market: Market, key_columns: list[list[Any]], times: list[int]) -> list[bytes | None]:
    """One key a row; None for a row that has none: its time is before 1970 or after 2286, or the key is too long.

    `key_columns` are the values of the columns of `table.key`, `times` those of its time column.
    """
    digits = _DIGITS[table.time_unit]
    nines = latest(table.time_unit)
    prefix = data_prefix(table.name, market)
    others = [values for name, values in zip(table.key, key_columns, strict=True) if name != table.time]
    keys: list[bytes | None] = []
    for at, time in enumerate(times):
        if not 0 <= time <= nines:
            keys.append(None)
            continue
        rest = "".join(
            [f"#{values[at]}" if isinstance(values[at], int) else f"#{_text(values[at])}" for values in others]
        )
        key = f"{prefix}{nines - time:0{digits}}{rest}".encode()
        keys.append(key if len(key) <= MAX_KEY_BYTES else None)
    return keys


def time_range(table: Table, market: Market, within: TimeRange) -> KeyRange | None:
    """The keys of the rows whose time lies in `within`; None where there can be none."""
    digits, nines = _DIGITS[table.time_unit], latest(table.time_unit)
    first = max(within.start or 0, 0)
    end = nines + 1 if within.end is None else min(within.end, nines + 1)
    if first >= end:
        return None
    prefix = data_prefix(table.name, market)
    newest, oldest = nines - (end - 1), nines - first
    return KeyRange(f"{prefix}{newest:0{digits}}".encode(), f"{prefix}{oldest:0{digits}}$".encode())


def index_key(table: str, market: Market, start_s: int) -> bytes:
    """The key of the index row of the slice that begins at `start_s`."""
    return f"{index_prefix(table, market)}{latest('s') - start_s:010}".encode()


def index_range(table: str, market: Market, first_s: int, last_s: int) -> KeyRange:
    """The keys of the slices that begin in first_s…last_s, both included."""
    return KeyRange(index_key(table, market, last_s), index_key(table, market, first_s) + b"\0")


def parse(key: bytes) -> Stored | None:
    """What a key of `market_data` tells; None for one that is not ours."""
    try:
        exchange, symbol, rest = key.decode().split("#", 2)
        table, mark, _ = rest.partition("#")
        if not mark:
            table, mark, inverted = rest.partition("!")
            time = latest("s") - int(inverted)
        else:
            inverted = rest[len(table) + 1 :].partition("#")[0]
            time = int("9" * len(inverted)) - int(inverted)
    except ValueError:
        return None
    named = legal("exchange", exchange) and legal("symbol", symbol) and legal("table", table)
    return Stored(Market(exchange, symbol), table, mark == "!", time) if named else None


def lead_of(table: Table, key: bytes) -> Any:
    """The key's first column, by the row key `key`."""
    parts = key.decode().split("#")
    if table.key[0] == table.time:
        return latest(table.time_unit) - int(parts[3])
    return int(parts[4]) if table.span == table.key[0] else unquote(parts[4])


def _text(value: Any) -> str:
    return quote(str(value), safe=" :@/+-_.,")
