"""`collector verify`: the audit of a store."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

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
from collector.core.epochs import SECOND_NS
from collector.errors import EXIT_BAD_NEWS
from collector.times import Time, show_ns
from storage_backends.settings import StoreSettings

if TYPE_CHECKING:
    from collector.audit.report import MarketReport

_RUNS = 3


@click.command()
@market_options
@click.option("--from", "start_ns", type=Time(), help="only from this time on, by each table's own time")
@click.option("--to", "end_ns", type=Time(), help="only before this time")
@store_options
@config_option
@click.option("--json", "as_json", is_flag=True, help="the whole report as JSON")
def verify(
    exchange: tuple[str, ...],
    symbol: tuple[str, ...],
    start_ns: int | None,
    end_ns: int | None,
    store: StoreSettings,
    as_json: bool,
) -> None:
    """Audits a store: id chains, gaps, one row a step, all that holds a book against rebuilt ones, bars against trades.

    Exit code 1 says that something breaks the promise: a break that no stored gap explains, a row too few, one that
    contradicts itself, the exchange, or what it was made of; or that there is nothing in this window to be good.
    """
    if start_ns is not None and end_ns is not None and start_ns >= end_ns:
        raise click.BadParameter("is not after --from: nothing would be checked", param_hint="--to")
    from collector.audit.verify import verify_market

    backend = open_store(store)
    with store_errors(store):
        markets = stored_markets(store, backend, exchange, symbol)
        reports = []
        for market in markets:
            name = f"{market.exchange} {market.symbol}"

            def show(diffs: int, name: str = name) -> None:
                if not as_json and sys.stderr.isatty():
                    click.echo(f"\r{name}: {diffs:,} diffs", nl=False, err=True)

            reports.append(verify_market(backend, market, start_ns, end_ns, show))
    good = not any(report.problems for report in reports)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode({"ok": good, "markets": reports}), indent=2))
    else:
        for report in reports:
            _print(report)
        click.echo("good: nothing is missing that no gap tells of" if good else "bad news: see above")
    if not good:
        raise click.exceptions.Exit(EXIT_BAD_NEWS)


def _print(report: MarketReport) -> None:
    click.echo(f"{report.exchange} {report.symbol}")
    for name, chain in report.chains.items():
        if chain.rows:
            click.echo(
                f"  {name:<11} {chain.rows:>10,} rows, ids {chain.first_id}…{chain.last_id}, "
                f"{chain.explained} breaks told by gaps, {chain.unexplained} unexplained"
            )
    epochs, book = report.epochs, report.book
    click.echo(
        f"  {'epochs':<11} {epochs.rows:>10,} rows, {epochs.valid:,} valid, "
        f"{epochs.explained_holes} holes told by gaps, {epochs.unexplained_holes} unexplained"
    )
    if book.diffs:
        click.echo(
            f"  {'book':<11} {book.rebuilt:>10,} of {book.diffs:,} diffs rebuilt; best prices equal book_ticker "
            f"{book.equal:,} of {book.compared:,} times ({book.unreported} moves it never reported, "
            f"{book.left_out} it left out, {book.differing} differ); crossed {book.crossed}"
        )
        click.echo(
            f"  {'anchors':<11} {book.anchors:>10,} compared over {book.anchor_levels:,} levels, "
            f"{book.anchor_levels_differing} differ"
        )
    for name, table in report.tables.items():
        steps = f", {table.explained_holes} holes told by gaps" if table.explained_holes else ""
        compared = f", {table.compared:,} compared" if table.compared else ""
        click.echo(f"  {name:<13} {table.rows:>8,} rows{compared}, {table.wrong} wrong, {table.holes} holes{steps}")
    gaps = ", ".join(
        f"{name} {count.gaps} ({count.healed} healed, {count.open} open)" for name, count in sorted(report.gaps.items())
    )
    click.echo(f"  {'gaps':<11} {gaps or 'none'}; {report.quarantined} frames in quarantine")
    covered = report.covered
    runs = ", ".join(f"{show_ns(a * SECOND_NS)} … {show_ns(b * SECOND_NS)}" for a, b in covered.ranges[:_RUNS])
    more = f" and {len(covered.ranges) - _RUNS} more" if len(covered.ranges) > _RUNS else ""
    click.echo(f"  {'covered':<11} {covered.seconds:>10,} of {covered.of:,} seconds: {runs or 'none'}{more}")
    for problem in report.problems:
        click.echo(f"  ! {problem}")
