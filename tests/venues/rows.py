"""Markets of venues driven by hand, and their rows."""

from __future__ import annotations

from typing import Any

import msgspec

from collector.core.batch import Batch
from collector.core.inputs import Resume, SessionStarted
from collector.core.market import Market
from collector.core.venues.open import frame_decoder, open_market
from collector.journal.arrow import to_arrow
from storage_backends.key_order import in_key_order
from storage_backends.schema import TABLES

SECOND = 1_000_000_000
START = 1_800_000_000 * SECOND


def session(protocol: str, resume: Resume | None = None) -> SessionStarted:
    return SessionStarted(
        exchange="bybit" if protocol == "bybit" else "okx",
        symbol="BTCUSDT",
        futures=False,
        channels=("depth", "raw_trades"),
        resume=resume,
        protocol=protocol,
    )


def begin(protocol: str, resume: Resume | None = None, start_ns: int = START) -> Market:
    return open_market(start_ns, session(protocol, resume))


def hand(market: Market, recv_ns: int, text: str) -> None:
    """One frame, as a recorder hands it on."""
    market.message(recv_ns, frame_decoder(market.session.protocol)(text), text)


def tables(batches: list[Batch]) -> dict[str, list[dict[str, Any]]]:
    """The rows of each table, as a store would have them."""
    by_table: dict[str, list[Batch]] = {}
    for batch in batches:
        by_table.setdefault(batch.table, []).append(batch)
    return {name: in_key_order(TABLES[name], to_arrow(some)).to_pylist() for name, some in sorted(by_table.items())}


def newest_gaps(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last revision of each gap."""
    newest: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["gap_id"] not in newest or row["revision"] > newest[row["gap_id"]]["revision"]:
            newest[row["gap_id"]] = row
    return list(newest.values())


def book_text(kind: str, u: int, ts: int, bids: dict[int, int], asks: dict[int, int], levels: int = 50) -> str:
    """A frame of Bybit's depth topic; prices and sizes in hundredths."""
    data = {"s": "BTCUSDT", "b": _levels(bids), "a": _levels(asks), "u": u, "seq": u}
    topic = f"orderbook.{levels}.BTCUSDT"
    return msgspec.json.encode({"topic": topic, "type": kind, "ts": ts, "data": data, "cts": ts}).decode()


def trade_text(ts: int, *idents: str, price: str = "10.5") -> str:
    """A frame of Bybit's trade topic."""
    fills = [{"T": ts, "s": "BTCUSDT", "S": "Sell", "v": "0.1", "p": price, "i": ident} for ident in idents]
    return msgspec.json.encode({"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": ts, "data": fills}).decode()


def _levels(side: dict[int, int]) -> list[list[str]]:
    return [[f"{price / 100:.2f}", f"{size / 100:.2f}" if size else "0"] for price, size in side.items()]
