"""`collector compact`: days of many files into one each, and whole days deleted where that is asked for."""

from __future__ import annotations

import datetime as dt

import click
import msgspec

from collector.clock import SystemClock
from collector.commands.log_options import logs_to_stderr
from collector.commands.options import config_option, open_store, retention_options, store_errors, store_options
from collector.errors import EXIT_BAD_NEWS, ConfigurationError
from collector.retention import BUSY
from collector.times import Date, today
from collector.upkeep import Upkeep, UpkeepReport
from storage_backends.settings import StoreSettings


@click.command()
@click.option(
    "--before",
    type=Date(),
    help="merge days before this UTC date: 2026-11-20, today or yesterday  [default: today]",
)
@retention_options
@store_options
@config_option
@click.option("--dry-run", is_flag=True, help="say what would be done, and do nothing")
@click.option("--json", "as_json", is_flag=True, help="what was done, as one object")
@logs_to_stderr
@click.pass_context
def compact(
    context: click.Context,
    before: dt.date | None,
    retain_days: int | None,
    disk_budget: int | None,
    store: StoreSettings,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Merges each day that is over into one file per table and market, sorted and without repeats.

    Safe beside a collector and readers, and after a crash: a scan gives the same rows before, meanwhile and after. With
    --retain-days or --disk-budget it also deletes whole days, the oldest first, never today's, and never gaps and
    events; what is deleted is said first, and is a row of `events`. Exit code 1 when something had to stay as it was,
    or when more is used than the budget with nothing left to delete.
    """
    from collector.lean_pyarrow import without_pandas
    from storage_backends.open import open_days

    without_pandas()

    clock = SystemClock()
    date = today(clock)
    limit = date if before is None else before
    if limit > date:
        raise ConfigurationError("--before", limit, f"is not over yet; the latest is today, {date} UTC")
    backend = open_store(store)
    days = open_days(store)
    if days is None:
        raise ConfigurationError("--backend", store.backend, "keeps no files by day; compact is for local and s3")

    def say(text: str) -> None:
        click.echo(text, err=as_json)

    with store_errors(store), days.alone() as held:
        if not held:
            raise ConfigurationError(*store.place, f"{BUSY}; wait for it")
        folder = store.data_dir if store.backend == "local" else None
        upkeep = Upkeep(days, backend, folder, clock, say, dry_run=dry_run)
        report = upkeep.run(limit, retain_days, disk_budget)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report), indent=2))
    else:
        _conclude(report)
    if report.problems or report.over_budget:
        context.exit(EXIT_BAD_NEWS)


def _conclude(report: UpkeepReport) -> None:
    would = "would be " if report.dry_run else ""
    click.echo(
        f"{len(report.merged):,} days {would}merged, {len(report.deleted):,} dates {would}deleted; "
        f"{report.used_bytes:,} bytes used"
    )
    if report.over_budget:
        click.echo(
            f"that is more than --disk-budget {report.budget_bytes:,}, and only today's rows, captures and the journal "
            "are left: raise the budget, collect less, or set --raw-max-bytes"
        )
