"""The promise, checked: ids sent = ids stored ∪ ids in gaps, none twice."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

from collector.audit.gaps import id_cover, read_gaps
from collector.core.ids import IdRanges
from storage_backends.interface import Market
from tests.live.harness import Simulator
from tests.stores import open_local

STREAMS = {
    "depth": ("diffs", "last_id", "depth"),
    "aggTrade": ("trades", "agg_trade_id", "trades"),
    "bookTicker": ("book_ticker", "update_id", "book_ticker"),
}


def stored_ids(data_dir: Path, market: Market, table: str, column: str) -> list[int]:
    """The ids in every file of a table, duplicates included: not through `scan`, which gives each key once."""
    import pyarrow.parquet as pq

    folder = data_dir / table / f"exchange={market.exchange}" / f"symbol={market.symbol}"
    return [
        one
        for file in folder.glob("date=*/*.parquet")
        for one in pq.ParquetFile(file).read([column])[column].to_pylist()
    ]


def sent_ids(ledger: dict[str, Any]) -> set[int]:
    """The ids that `/sent` tells of: all of them if the simulator was started with `--sent`, else the newest."""
    if ledger["file"] is None:
        return set(ledger["sent"])
    ids = array("q")
    ids.frombytes(Path(ledger["file"]).read_bytes())
    return set(ids)


def fetched_ids(data_dir: Path, market: Market) -> set[int]:
    """The aggTrades that came by REST."""
    import pyarrow.parquet as pq

    folder = data_dir / "trades" / f"exchange={market.exchange}" / f"symbol={market.symbol}"
    tables = [pq.ParquetFile(file).read(["agg_trade_id", "source"]) for file in folder.glob("date=*/*.parquet")]
    return {row["agg_trade_id"] for rows in tables for row in rows.to_pylist() if row["source"] == "rest"}


def check_promise(
    simulator: Simulator, data_dir: Path, market: Market, channels: tuple[str, ...] = tuple(STREAMS)
) -> None:
    """Fails with what is missing, stored twice, or neither sent nor fetched for a gap.

    Ids sent before the first one stored do not count: nothing promises what was not yet asked for.
    """
    gaps = read_gaps(open_local(data_dir), market)
    for channel in channels:
        table, column, stream = STREAMS[channel]
        ledger = simulator.get("/sent", market=market.exchange, symbol=market.symbol, stream=channel)
        sent = sent_ids(ledger)
        stored = stored_ids(data_dir, market, table, column)
        assert len(stored) == len(set(stored)), f"{table}: {len(stored) - len(set(stored))} ids stored twice"
        if ledger["truncated"] and ledger["file"] is None:
            # The simulator remembers the newest half million; older ones can only be checked to be there once.
            oldest = min(sent)
            stored = [one for one in stored if one >= oldest]
        assert stored, f"nothing in {table}"
        fetched = fetched_ids(data_dir, market) if stream == "trades" else set()
        unsent = set(stored) - sent
        assert unsent <= fetched, f"{table}: stored what was never sent: {sorted(unsent - fetched)[:5]}"
        lacked = IdRanges((gap.from_id, gap.to_id) for gap in gaps if gap.stream == stream and gap.to_id is not None)
        unasked = [one for one in fetched if not lacked.holds(one, one)]
        assert not unasked, f"{table}: fetched what no gap lacks: {sorted(unasked)[:5]}"
        cover = id_cover(gaps, stream)
        first, last, kept = min(stored), max(stored), set(stored)
        lost = [one for one in sent if first < one <= last and one not in kept and not cover.holds(one, one)]
        assert not lost, f"{table}: {len(lost)} ids neither stored nor in a gap: {sorted(lost)[:5]}"
