"""`collector copy`: what one store holds into another."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import click
import msgspec

from collector.commands.log_options import logs_to_stderr
from collector.commands.options import config_option, market_options, open_store, select_markets, store_errors
from collector.config import setting
from collector.errors import EXIT_BAD_NEWS, ConfigurationError
from storage_backends.place import FORMS, settings_of
from storage_backends.settings import StoreSettings

if TYPE_CHECKING:
    from tqdm import tqdm


@click.command()
@click.option("--from", "source", required=True, metavar="STORE", help=f"where rows are: {FORMS}")
@click.option("--to", "target", required=True, metavar="STORE", help="where they are to be, likewise")
@market_options
@click.option("--table", multiple=True, help="diffs, trades, …; repeatable  [default: all]")
@setting("--s3-region", default=None, help="region of s3  [default: as boto3 finds it]")
@setting("--s3-endpoint-url", default=None, help="an S3-compatible store elsewhere, as http://127.0.0.1:9000")
@setting("--bigtable-emulator-host", default=None, help="HOST:PORT of a Bigtable emulator, instead of the cloud")
@config_option
@click.option("--json", "as_json", is_flag=True, help="what was done, as one object")
@logs_to_stderr
@click.pass_context
def copy(
    context: click.Context,
    source: str,
    target: str,
    exchange: tuple[str, ...],
    symbol: tuple[str, ...],
    table: tuple[str, ...],
    s3_region: str | None,
    s3_endpoint_url: str | None,
    bigtable_emulator_host: str | None,
    as_json: bool,
) -> None:
    """Copies rows between backends, day by day, and compares each day afterwards.

    Days that are there are passed over, so that a run that broke off is simply started again, and a second run copies
    what came meanwhile. Nothing in the source is touched, and nothing in the target replaced: where both have a key, a
    scan gives the row that it would have given of two collectors. Exit code 1: a day differs.
    """
    from collector.copying import copy_days, days_of
    from storage_backends.schema import TABLES

    for name in table:
        if name not in TABLES:
            raise ConfigurationError("--table", name, f"is not known; there are {', '.join(sorted(TABLES))}")
    others = StoreSettings(
        s3_region=s3_region, s3_endpoint_url=s3_endpoint_url, bigtable_emulator_host=bigtable_emulator_host
    )
    from_settings, to_settings = _settings("--from", source, others), _settings("--to", target, others)
    if from_settings == to_settings:
        raise ConfigurationError("--to", target, "is where the rows are; name another store")
    reading, writing = open_store(from_settings), open_store(to_settings, must_exist=False)
    with store_errors(from_settings):
        days = days_of(reading, select_markets(reading, exchange, symbol), table)
    with store_errors(to_settings):
        writing.check()
        with _progress(sum(day.share for day in days), shown=not as_json) as bar:
            report = copy_days(reading, writing, days, lambda day: bar.update(day.share))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report), indent=2))
    else:
        for problem in report.problems:
            click.echo(f"! {problem}")
        click.echo(
            f"{report.copied:,} days copied, {report.present:,} were there; {report.rows:,} rows compared, "
            f"{len(report.problems):,} days differ"
        )
    if report.problems:
        context.exit(EXIT_BAD_NEWS)


def _settings(option: str, text: str, others: StoreSettings) -> StoreSettings:
    try:
        return settings_of(text, others)
    except ValueError as error:
        raise ConfigurationError(option, text, str(error)) from error


def _progress(rows: int, *, shown: bool) -> tqdm[NoReturn]:
    """A bar, on a terminal."""
    from tqdm import tqdm

    return tqdm(total=rows, unit=" rows", unit_scale=True, disable=None if shown else True)
