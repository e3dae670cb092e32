"""`collector tables`: the tables of a Bigtable instance, made or looked at by somebody who may."""

from __future__ import annotations

import datetime as dt
import re

import click
import msgspec

from collector.commands.options import config_option, store_errors, store_options
from collector.errors import EXIT_BAD_NEWS, ConfigurationError
from storage_backends.settings import StoreSettings

_SECONDS = {"h": 3600, "d": 86_400, "w": 604_800}


class Age(click.ParamType[dt.timedelta]):
    """A length of time, as in 90d; a day at least, since rows of today are still being written."""

    name = "age"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> dt.timedelta:
        found = re.fullmatch(r"([1-9]\d{0,5})([hdw])", str(value).strip())
        if found is None:
            self.fail(f"{value!r} is no age; write it as in 36h, 90d or 12w.", param, ctx)
        age = dt.timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
        if age < dt.timedelta(days=1):
            self.fail(f"{value!r} is less than a day.", param, ctx)
        return age


@click.command()
@click.argument("action", type=click.Choice(["create", "check"]))
@click.option(
    "--max-age",
    type=Age(),
    help="delete rows that are older than this, as in 90d; also rows that are filled in later  [default: keep all]",
)
@store_options
@config_option
@click.option("--json", "as_json", is_flag=True, help="a list of what was found or done")
def tables(action: str, max_age: dt.timedelta | None, store: StoreSettings, as_json: bool) -> None:
    """Makes the tables of --backend bigtable, or checks them: families, and what is deleted by itself.

    Needs roles/bigtable.admin (check: bigtable.viewer), which the collector does not. `create` makes what is missing
    and changes nothing that is there. Exit code 1 when `check` finds something to mend.
    """
    if store.backend != "bigtable":
        raise ConfigurationError("--backend", store.backend, "makes its tables by itself; tables is for bigtable")
    from storage_backends.bigtable import admin
    from storage_backends.bigtable.options import BigtableOptions

    try:
        options = BigtableOptions.of(store)
    except ValueError as error:
        raise ConfigurationError("--backend", store.backend, str(error)) from error
    with store_errors(store):
        found = admin.create(options, max_age) if action == "create" else admin.check(options, max_age)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode([one._asdict() for one in found]), indent=2))
    else:
        for one in found:
            click.echo(f"{one.table:<18} {one.found}" + (f"\n{'':<18} → {one.mend}" if one.mend else ""))
    if any(one.mend for one in found):
        raise click.exceptions.Exit(EXIT_BAD_NEWS)
