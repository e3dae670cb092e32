"""`collector book`: the whole book at an instant."""

from __future__ import annotations

import click
import msgspec

from collector.audit.instant import book_at, gap_at
from collector.commands.options import (
    config_option,
    market_options,
    not_one_market,
    open_store,
    select_markets,
    store_errors,
    store_options,
)
from collector.core.book import WHOLE_CEILING, WHOLE_FLOOR
from collector.core.gaps import Gap
from collector.core.side import Side
from collector.errors import EXIT_BAD_NEWS
from collector.times import Time, show_ns
from storage_backends.settings import StoreSettings


@click.command()
@market_options
@click.option("--at", "at_ns", type=Time(), required=True, help="ISO 8601, or Unix time in s, ms, µs or ns")
@click.option("--depth", default=10, show_default=True, type=click.IntRange(1, 100_000), help="levels a side")
@store_options
@config_option
@click.option("--json", "as_json", is_flag=True, help="as JSON: bids and asks as [price, quantity], best first")
def book(
    exchange: tuple[str, ...],
    symbol: tuple[str, ...],
    at_ns: int,
    depth: int,
    store: StoreSettings,
    as_json: bool,
) -> None:
    """Rebuilds the book as it was known at an instant: every diff received before it, none after.

    Levels beyond the known depth are left out. Inside a gap it is the last book before it, and that is said. Exit code
    1: no book was known then.
    """
    backend = open_store(store)
    with store_errors(store):
        markets = select_markets(backend, exchange, symbol)
        if len(markets) != 1:
            raise not_one_market(store, markets)
        known = book_at(backend, markets[0], at_ns)
        gap = gap_at(backend, markets[0], at_ns)
    if known is None:
        why = "" if gap is None else f": {_told(gap)}"
        name = f"{markets[0].exchange} {markets[0].symbol}"
        click.echo(f"no book of {name} was known at {show_ns(at_ns)}{why}", err=True)
        raise click.exceptions.Exit(EXIT_BAD_NEWS)
    found = known.book
    price_unit, quantity_unit = float(10**found.price_places), float(10**found.quantity_places)

    def levels(side: Side, *, best_last: bool) -> list[list[float]]:
        pairs = zip((side.price / price_unit).tolist(), (side.quantity / quantity_unit).tolist(), strict=True)
        ladder = [list(pair) for pair in pairs]
        return (ladder[::-1] if best_last else ladder)[:depth]

    bids = levels(found.bids.between(found.bid_floor, WHOLE_CEILING), best_last=True)
    asks = levels(found.asks.between(WHOLE_FLOOR, found.ask_ceiling), best_last=False)
    if as_json:
        report = {
            "exchange": markets[0].exchange,
            "symbol": markets[0].symbol,
            "at_ns": at_ns,
            "last_update_id": found.last_id,
            "recv_ns": known.recv_ns,
            "anchor_update_id": known.anchor_id,
            "gap": gap,
            "known_from": found.bid_floor / price_unit,
            "known_to": None if found.ask_ceiling == WHOLE_CEILING else found.ask_ceiling / price_unit,
            "bids": bids,
            "asks": asks,
        }
        click.echo(msgspec.json.encode(report))
        return
    click.echo(
        f"{markets[0].exchange} {markets[0].symbol} at {show_ns(at_ns)}: update {found.last_id}, "
        f"received {(at_ns - known.recv_ns) / 1e6:.0f} ms before"
    )
    if gap is not None:
        click.echo(f"NOT the book of that moment: {_told(gap)}")
    width = max((len(f"{price:,.{found.price_places}f}") for price, _ in bids + asks), default=0)
    for price, quantity in reversed(asks):
        click.echo(f"  ask {price:>{width},.{found.price_places}f}  {quantity:,.{found.quantity_places}f}")
    click.echo(f"      {'-' * width}")
    for price, quantity in bids:
        click.echo(f"  bid {price:>{width},.{found.price_places}f}  {quantity:,.{found.quantity_places}f}")


def _told(gap: Gap) -> str:
    """A gap in a line."""
    until = "now, as far as is known" if gap.to_ns is None else show_ns(gap.to_ns)
    return f"a gap ({gap.reason}) lasts from {show_ns(gap.from_ns)} to {until}"
