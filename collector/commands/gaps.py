"""`collector gaps`: what is missing, and why."""

from __future__ import annotations

import difflib

import click
import msgspec

from collector.audit.healing import read_remaining
from collector.commands.options import (
    config_option,
    market_options,
    open_store,
    store_errors,
    store_options,
    stored_markets,
)
from collector.core.channels import channel_of, is_channel
from collector.errors import ConfigurationError
from collector.times import Time, show_ns
from storage_backends.settings import StoreSettings


@click.command()
@market_options
@click.option("--from", "start_ns", type=Time(), help="only gaps that touch the time from here on")
@click.option("--to", "end_ns", type=Time(), help="only gaps that touch the time before")
@click.option("--stream", multiple=True, help="depth, trades, raw_trades, book_ticker; repeatable  [default: all]")
@store_options
@config_option
@click.option("--json", "as_json", is_flag=True, help="a list, one object a gap")
def gaps(
    exchange: tuple[str, ...],
    symbol: tuple[str, ...],
    start_ns: int | None,
    end_ns: int | None,
    stream: tuple[str, ...],
    store: StoreSettings,
    as_json: bool,
) -> None:
    """Lists the stored gaps, each by its newest statement.

    A gap of one collector that the rows of another one fill is healed; where they fill a part, it is what is left.
    """
    if start_ns is not None and end_ns is not None and start_ns >= end_ns:
        raise ConfigurationError("--to", show_ns(end_ns), f"must be later than --from, {show_ns(start_ns)}")
    from storage_backends.schema import TABLES

    for name in stream:
        if name not in TABLES and not is_channel(channel_of(name)):
            near = difflib.get_close_matches(name, TABLES, n=1)
            mend = f"; did you mean {near[0]}?" if near else ", such as depth, trades, book_ticker or kline_1m"
            raise ConfigurationError("--stream", name, f"is no stream{mend}")
    backend = open_store(store)
    with store_errors(store):
        found = [
            (market, gap)
            for market in stored_markets(store, backend, exchange, symbol, may_be_empty=as_json)
            for gap in read_remaining(backend, market, start_ns, end_ns)
            if not stream or gap.stream in stream
        ]
    if as_json:
        rows = [
            {"exchange": market.exchange, "symbol": market.symbol, **msgspec.structs.asdict(gap)}
            for market, gap in found
        ]
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2))
        return
    for market, gap in found:
        span = "open" if gap.to_ns is None else f"{(gap.to_ns - gap.from_ns) / 1e9:.3f} s"
        ids = f"ids {gap.from_id}…{'' if gap.to_id is None else gap.to_id}"
        if gap.from_id is None:
            uncounted = gap.reason in ("disconnect", "restart", "quarantine")
            ids = "messages without ids may be missing" if uncounted else "rows in doubt, no message missing"
        if gap.from_id is not None and gap.to_id is not None and gap.to_id < gap.from_id:
            ids = "no id missing"
        healed = f", healed by {gap.healed_by}" if gap.healed else ""
        head = f"{market.exchange} {market.symbol} {gap.stream:<11} {show_ns(gap.from_ns)} {span:>10}"
        click.echo(f"{head}  {gap.reason}: {ids}{healed}")
    click.echo(f"{len(found)} gaps")
