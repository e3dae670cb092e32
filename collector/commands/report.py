"""`collector report`: a day at a glance."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from collector.clock import SystemClock
from collector.commands.options import (
    check_folder,
    config_option,
    market_options,
    open_store,
    store_errors,
    store_options,
    stored_markets,
)
from collector.errors import ConfigurationError
from collector.times import Date, today
from storage_backends.settings import StoreSettings

if TYPE_CHECKING:
    from collector.audit.day import DayReport

_WORST = 5
_FEW = 8
"""Up to so many markets are told of in full, more in a line each."""


@click.command()
@market_options
@click.option("--date", "date", default="today", show_default=True, type=Date(), help="2026-11-20, today or yesterday")
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False), help="also draw it, to a .png or .svg file")
@store_options
@config_option
@click.option("--json", "as_json", is_flag=True, help="the whole report as JSON")
def report(
    exchange: tuple[str, ...],
    symbol: tuple[str, ...],
    date: dt.date,
    picture: Path | None,
    store: StoreSettings,
    as_json: bool,
) -> None:
    """Tells how much of a UTC day is covered, what is missing, and how good it was, for each market."""
    from collector.audit.day import day_report
    from collector.lean_pyarrow import without_pandas

    without_pandas()
    if date > today(SystemClock()):
        raise ConfigurationError("--date", date, "is yet to come")
    if picture is not None and picture.suffix not in (".png", ".svg"):
        raise ConfigurationError("--picture", picture, "must end in .png or .svg")
    if picture is not None:
        check_folder("--picture", picture)
    backend = open_store(store)
    with store_errors(store):
        markets = stored_markets(store, backend, exchange, symbol)
        reports = []
        for number, market in enumerate(markets, 1):
            if len(markets) > 1 and sys.stderr.isatty():
                click.echo(f"\r{number} of {len(markets)} markets", nl=number == len(markets), err=True)
            reports.append(day_report(backend, market, date, SystemClock().now_ns()))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(reports), indent=2))
    else:
        for one in reports:
            _print(one, in_full=len(reports) <= _FEW)
    if picture is not None:
        from collector.audit.day_picture import draw

        draw(reports, picture)
        click.echo(f"drawn to {picture}", err=True)


def _print(one: DayReport, *, in_full: bool) -> None:
    click.echo(
        f"{one.exchange} {one.symbol} {one.date}: {one.coverage:.2%} covered, {one.valid:.2%} valid "
        f"of {one.expected_s:,} s, {sum(gap.gaps for gap in one.gaps)} gaps"
    )
    if not in_full:
        return
    click.echo("  rows      " + (", ".join(f"{table} {count:,}" for table, count in one.rows.items()) or "none"))
    total = sum(one.quality_s.values())
    if total:
        grades = ", ".join(f"{grade} {one.quality_s.get(grade, 0) / total:.2%}" for grade in ("ok", "degraded", "bad"))
        worst = ", ".join(f"{name} {count:,} s" for name, count in list(one.reasons_s.items())[:_WORST])
        click.echo(f"  quality   {grades}{f'; {worst}' if worst else ''}")
    for gap in one.gaps:
        healed = f", {gap.healed} healed" if gap.healed else ""
        click.echo(f"  gaps      {gap.stream} {gap.reason}: {gap.gaps}{healed}, {gap.seconds:,.1f} s")
    if one.lag.median_p50_ms is not None:
        click.echo(
            f"  lag       p50 {one.lag.median_p50_ms:.1f} ms, p99 {one.lag.median_p99_ms:.1f} ms (medians of a "
            f"minute), worst p99 {one.lag.worst_p99_ms:.0f} ms"
        )
    for stage, ms in one.stages.items():
        click.echo(
            f"  {f'→ {stage}':<9} median {ms.median_ms:,.0f} ms, p99 {ms.p99_ms:,.0f} ms, worst {ms.worst_ms:,.0f} ms "
            "(from receipt, oldest row of a second)"
        )
    clock = one.clock
    if clock.measured:
        steps = f"; {clock.steps} steps of our clock" if clock.steps else ""
        click.echo(
            f"  clock     exchange minus ours {clock.median_ms:+.1f} ms, from {clock.least_ms:+.1f} to "
            f"{clock.most_ms:+.1f}, {clock.measured} measurements{steps}"
        )
    anchors = one.anchors
    click.echo(
        f"  anchors   {anchors.snapshots:,}, of {anchors.compared_levels:,} levels compared "
        f"{anchors.differing_levels:,} differed"
    )
