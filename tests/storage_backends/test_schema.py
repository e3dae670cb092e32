from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from storage_backends.describe import describe
from storage_backends.schema import SCHEMA_VERSION, TABLES, Table, bare

# Stored files depend on these. A change here needs a new version of the table, and old files that still read.
COLUMNS = {
    "depth": "epoch best_bid best_ask price bid_buckets ask_buckets step_pct num_steps ref bid_coverage ask_coverage "
    "last_update_id event_time recv_ns book_age_ms valid",
    "diffs": "first_id last_id prev_id event_time transact_time recv_ns connection "
    "bid_price bid_quantity ask_price ask_quantity",
    "snapshots": "last_update_id bid_price bid_quantity ask_price ask_quantity event_time transact_time request_ns "
    "recv_ns limit reason compared_levels differing_levels",
    "trades": "agg_trade_id first_id last_id price quantity normal_quantity is_buyer_maker timestamp recv_ns source",
    "raw_trades": "trade_id price quantity is_buyer_maker timestamp order_type recv_ns source venue_id",
    "book_ticker": "update_id bid_price bid_quantity ask_price ask_quantity event_time transact_time recv_ns",
    "mark_price": "event_time mark_price mark_average index_price settle_price funding_rate next_funding_time recv_ns",
    "liquidations": "trade_time side event_time order_type time_in_force status quantity price average_price "
    "last_quantity filled_quantity recv_ns",
    "klines": "open_time interval event_time close_time open high low close volume quote_volume taker_buy_volume "
    "taker_buy_quote_volume trades first_id last_id closed recv_ns source",
    "partial_depth": "last_update_id levels bid_price bid_quantity ask_price ask_quantity event_time transact_time "
    "recv_ns",
    "polled_books": "last_update_id limit bid_price bid_quantity ask_price ask_quantity event_time transact_time "
    "request_ns recv_ns",
    "open_interest": "timestamp open_interest request_ns recv_ns",
    "funding": "funding_time funding_rate mark_price recv_ns",
    "bars": "open_time interval_ms interval open high low close volume quote_volume buy_volume sell_volume delta "
    "trades empty late_trades complete recv_ns",
    "books": "timestamp best_bid_price best_ask_price mid_price spread bid_volume_top ask_volume_top volume_imbalance "
    "bid_price bid_quantity ask_price ask_quantity depth grid_ms last_update_id recv_ns valid",
    "multitick": "epoch tick best_bid best_ask spread spread_pct bid_price bid_quantity bid_cum_quantity "
    "bid_cum_notional ask_price ask_quantity ask_cum_quantity ask_cum_notional imbalance depth_ratio bid_coverage "
    "ask_coverage num_levels ask_rounding recv_ns valid",
    "forecasts": "timestamp model target price horizon_ms log_return_bp forecast_price",
    "gaps": "gap_id revision stream reason from_id to_id from_ns to_ns detected_ns healed healed_by",
    "clock": "time_ns sequence kind offset_ns round_trip_ns samples",
    "quality": "epoch ok grade reasons lag_p50_ms lag_p95_ms lag_p99_ms late_ms clock_offset_ms journal_lag_ms "
    "backend_lag_ms book_lag_ms",
    "events": "time_ns sequence kind stream connection detail text",
}


@pytest.mark.parametrize("name", sorted({*TABLES, *COLUMNS} - {"features"}))  # see test_feature_columns.py
def test_columns_stay(name: str) -> None:
    assert TABLES[name].schema.names == COLUMNS[name].split()


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_tables_keep_what_readers_rely_on(table: Table) -> None:
    assert TABLES[table.name] is table
    for name in (*table.key, table.time):
        assert not table.schema.field(name).nullable
    assert table.schema.field(table.time).type == pa.int64()
    assert pa.types.is_integer(table.schema.field(table.span).type)
    assert {name for name, _ in table.prefer} <= set(table.schema.names)
    assert {"exchange", "symbol", "date"}.isdisjoint(table.schema.names)
    assert all(field.metadata[b"doc"] for field in table.schema)
    assert table.description
    assert 1 <= table.version <= SCHEMA_VERSION


def test_the_schema_version_is_the_highest() -> None:
    assert max(table.version for table in TABLES.values()) == SCHEMA_VERSION


def test_a_bare_schema_has_no_documentation() -> None:
    schema = bare(TABLES["trades"].schema)
    assert schema.equals(TABLES["trades"].schema)
    assert all(field.metadata is None for field in schema)


def test_the_page_of_tables_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "SCHEMA.md"
    made_by = "python -m storage_backends.describe > SCHEMA.md"
    assert page.read_text(encoding="utf-8") == describe(), f"make it anew: {made_by}"
