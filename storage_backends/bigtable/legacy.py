"""`binance_btc_depth`: the table that readers knew before there was any other, one row a valid epoch of Binance spot.

    key    {9999999999 - epoch}#{symbol}, so the newest epoch comes first
    cells  family `data`, text: `price` (mid), `orderbook` (JSON), `timestamp` (the epoch)

Every cell bears the epoch as its timestamp, so a repeated write leaves one version. Of two collectors of one market the
last one to write an epoch counts; both were valid.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import msgspec

from storage_backends.bigtable.client import Cell, Client, Entry, Row
from storage_backends.bigtable.keys import LEGACY_FAMILY, LEGACY_TABLE, latest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

    from storage_backends.interface import Market
    from storage_backends.schema import Table

EXCHANGE: Final = "binance"
_BOOK: Final = ("epoch", "best_bid", "best_ask", "bid_buckets", "ask_buckets", "step_pct", "num_steps")
_KEYS_A_READ: Final = 1000

_json = msgspec.json.Encoder().encode


def key(epoch: int, symbol: str) -> bytes:
    """The row of one epoch: `8231946041#BTCUSDT` for 1768053958."""
    return f"{latest('s') - epoch:010}#{symbol}".encode()


def entries(table: Table, market: Market, rows: pa.Table) -> list[tuple[int, Entry]]:
    """(row, what to write) of the rows of `depth` that this table has."""
    if table.name != "depth" or market.exchange != EXCHANGE:
        return []
    made = []
    columns = rows.select([*_BOOK, "price", "valid"]).to_pydict()
    for at, valid in enumerate(columns["valid"]):
        if not valid or columns["price"][at] is None:
            continue
        epoch = columns["epoch"][at]
        values = {
            b"price": repr(columns["price"][at]).encode(),
            b"orderbook": _json({name: columns[name][at] for name in _BOOK}),
            b"timestamp": str(epoch).encode(),
        }
        cells = [Cell(LEGACY_FAMILY, name, epoch * 1000, value) for name, value in values.items()]
        made.append((at, Entry(key(epoch, market.symbol), cells)))
    return made


def read(client: Client, symbol: str, epochs: Iterable[int]) -> Iterator[dict[str, Any]]:
    """The rows of those epochs that there are, the newest first: what `orderbook` says, `price` and `timestamp`.

    Asks for single keys: a range of this table holds every symbol.

    Raises:
        BackendError: translated.
    """
    wanted = [key(epoch, symbol) for epoch in sorted(set(epochs), reverse=True)]
    for start in range(0, len(wanted), _KEYS_A_READ):
        for row in client.read(LEGACY_TABLE, wanted[start : start + _KEYS_A_READ]):
            yield _parsed(row)


def _parsed(row: Row) -> dict[str, Any]:
    cells = {qualifier: value for qualifier, _, value in row.cells}
    book: dict[str, Any] = msgspec.json.decode(cells[b"orderbook"])
    return {**book, "price": _number(cells[b"price"]), "timestamp": int(_number(cells[b"timestamp"]))}


def _number(value: bytes) -> float:
    """A number as text; writers of long ago also left the eight bytes of a float64, which some texts are long too."""
    try:
        return float(value)
    except ValueError:
        number: float = struct.unpack(">d", value)[0]
        return number
