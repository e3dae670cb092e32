"""`collector stats`: what a store holds, from metadata alone."""

from __future__ import annotations

import click
import msgspec

from collector.commands.options import (
    config_option,
    market_options,
    open_store,
    store_errors,
    store_options,
    stored_markets,
)
from collector.times import show_ns
from storage_backends.settings import StoreSettings


@click.command()
@market_options
@store_options
@config_option
@click.option("--json", "as_json", is_flag=True, help="a list, one object a table and market")
def stats(exchange: tuple[str, ...], symbol: tuple[str, ...], store: StoreSettings, as_json: bool) -> None:
    """Rows, files, bytes and time span of every table."""
    backend = open_store(store)
    with store_errors(store):
        found = [
            (market, table, backend.stats(table, market))
            for market in stored_markets(store, backend, exchange, symbol, may_be_empty=as_json)
            for table in backend.tables(market)
        ]
    if as_json:
        rows = [
            {"exchange": market.exchange, "symbol": market.symbol, "table": table, **one._asdict()}
            for market, table, one in found
        ]
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2))
        return
    for market, table, one in found:
        each = one.bytes / one.rows if one.rows else 0
        click.echo(
            f"{market.exchange} {market.symbol} {table:<12} {one.rows:>12,} rows {one.files:>6,} files "
            f"{one.bytes:>14,} bytes ({each:.1f} a row)  {show_ns(one.first_ns)} … {show_ns(one.last_ns)}"
        )
