"""`collector features`: what features there are, computed again from a store, drawn."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from collector.commands.log_options import logs_to_stderr
from collector.commands.options import (
    check_folder,
    config_option,
    market_options,
    not_one_market,
    open_store,
    select_markets,
    store_errors,
    store_options,
)
from collector.errors import ConfigurationError
from collector.features.options import chosen_features
from collector.lean_pyarrow import without_pandas
from collector.times import Time, show_ns
from storage_backends.settings import StoreSettings

if TYPE_CHECKING:
    from collector.core.features.registry import Feature

_PLOTTED = "spread_bps,imbalance_5,cvd"
_FORMATS = (".parquet", ".csv")


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="a list, one object a feature")
@click.option("--write-schema", is_flag=True, help="add columns of new features to table `features` of this checkout")
@click.pass_context
def features(ctx: click.Context, as_json: bool, write_schema: bool) -> None:
    """Lists the features, computes them again from a store, or draws them."""
    if ctx.invoked_subcommand is not None:
        return
    from collector.core.features.catalog import REGISTRY, choose_features

    if write_schema:
        click.echo(write_columns())
        return
    basic = {one.name for one in choose_features("basic").features}
    if as_json:
        rows = [{**_described(one), "basic": one.name in basic} for one in REGISTRY]
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2))
        return
    width = max(len(one.name) for one in REGISTRY)
    for one in REGISTRY:
        mark = "*" if one.name in basic else " "
        click.echo(f"{mark} {one.name:<{width}}  {one.doc} [{one.unit}; warm after {one.warmup_s} s]")
    click.echo(f"{len(REGISTRY)} features; * is in the set `basic` ({choose_features('basic').label})")


_span = [
    click.option("--from", "from_ns", type=Time(), required=True, help="ISO 8601, or Unix time in s, ms, µs or ns"),
    click.option("--to", "to_ns", type=Time(), required=True, help="likewise; not included"),
]


@features.command()
@market_options
@_span[0]
@_span[1]
@click.option("--features", "names", default="all", show_default=True, help="all, basic, or names with commas")
@click.option("--run-up", default=None, type=click.IntRange(1), help="read at most that many seconds before --from; "
              "then features with a longer memory may differ  [default: from the start of the session]")  # fmt: skip
@click.option("--out", "--output", type=click.Path(path_type=Path), help="a .parquet or .csv file instead of the store")
@store_options
@config_option
@click.option("--json", "as_json", is_flag=True, help="rows by market, as JSON")
@logs_to_stderr
def recompute(
    exchange: tuple[str, ...],
    symbol: tuple[str, ...],
    from_ns: int,
    to_ns: int,
    names: str,
    run_up: int | None,
    out: Path | None,
    store: StoreSettings,
    as_json: bool,
) -> None:
    """Computes features again from what is stored, with the values that a live run gives.

    Rows go into table `features` of the same store, or to --out. Doing it again changes nothing. Of several rows of one
    epoch a reader gets the one of the largest set.
    """
    from collector.features.recompute import recompute as rows_of
    from collector.store import StoreWriter

    chosen = chosen_features(names)
    _check_span(from_ns, to_ns)
    if out is not None and out.suffix not in _FORMATS:
        raise ConfigurationError("--out", out, f"must end in {' or '.join(_FORMATS)}")
    if out is not None:
        check_folder("--out", out)
    without_pandas()
    opened = open_store(store)
    counts: Counter[str] = Counter()
    with store_errors(store):
        markets = select_markets(opened, exchange, symbol)
        if out is not None and len(markets) != 1:
            raise not_one_market(store, markets)
        writer = StoreWriter(opened, "recompute", store.place)
        kept = []
        for market in markets:
            for batch in rows_of(opened, market, chosen, from_ns, to_ns, run_up):
                counts[f"{market.exchange} {market.symbol}"] += batch.rows
                if out is None:
                    writer.add(*market, [batch])
                else:
                    kept.append(batch)
        writer.flush()
        opened.close()
    if out is not None and kept:
        from collector.features.files import write_file

        write_file(kept, out)
    if as_json:
        click.echo(msgspec.json.encode({"set": chosen.label, "rows": counts}))
        return
    for name, rows in counts.items():
        click.echo(f"{name}: {rows:,} rows of {chosen.label}")
    if not counts:
        click.echo("no epochs are stored in that time; `collector stats` shows what is", err=True)


@features.command()
@market_options
@_span[0]
@_span[1]
@click.option("--features", "names", default=_PLOTTED, show_default=True, help="names with commas, a panel each")
@click.option("--out", "--output", type=click.Path(path_type=Path), default=Path("features.png"), show_default=True,
              help="a .png or .svg file")  # fmt: skip
@store_options
@config_option
def plot(
    exchange: tuple[str, ...],
    symbol: tuple[str, ...],
    from_ns: int,
    to_ns: int,
    names: str,
    out: Path,
    store: StoreSettings,
) -> None:
    """Draws price, depth and features on one time axis; gaps are gaps, and shaded."""
    from collector.features.plot import draw

    chosen = chosen_features(names)
    _check_span(from_ns, to_ns)
    if out.suffix not in (".png", ".svg"):
        raise ConfigurationError("--out", out, "must end in .png or .svg")
    check_folder("--out", out)
    opened = open_store(store)
    with store_errors(store):
        markets = select_markets(opened, exchange, symbol)
        if len(markets) != 1:
            raise not_one_market(store, markets)
        epochs = draw(opened, markets[0], [one.name for one in chosen.features], from_ns, to_ns, out)
    click.echo(f"{epochs:,} epochs drawn to {out}")


def _check_span(from_ns: int, to_ns: int) -> None:
    if to_ns <= from_ns:
        raise ConfigurationError("--to", show_ns(to_ns), f"must be later than --from, {show_ns(from_ns)}")


def _described(one: Feature) -> dict[str, object]:
    return {
        "name": one.name,
        "unit": one.unit,
        "doc": one.doc,
        "inputs": ["depth of two markets"] if one.across else sorted(one.inputs),
        "warmup_s": one.warmup_s,
        "memory_s": one.memory_s,
        "source": one.source,
        "version": one.version,
    }


def write_columns() -> str:
    """Adds what the registry has and the file lacks; lines that are there keep their place and their `since`."""
    from storage_backends.schema.features import COLUMNS_FILE

    text, added = schema_text(COLUMNS_FILE.read_text(encoding="utf-8") if COLUMNS_FILE.exists() else "")
    COLUMNS_FILE.write_text(text, encoding="utf-8", newline="")
    return f"{added} columns added to {COLUMNS_FILE.name}"


def schema_text(before: str) -> tuple[str, int]:
    """The content that the file of columns should have, and how many columns are new in it."""
    from collector.core.features.catalog import REGISTRY

    lines = list(csv.DictReader(io.StringIO(before)))
    known = {line["name"] for line in lines}
    since = max((int(line["since"]) for line in lines), default=0) + 1
    lines = [
        line | {"unit": REGISTRY[line["name"]].unit, "doc": REGISTRY[line["name"]].doc}
        if line["name"] in REGISTRY
        else line
        for line in lines
    ]
    new = [
        {"name": one.name, "unit": one.unit, "doc": one.doc, "since": str(since)}
        for one in REGISTRY
        if one.name not in known
    ]
    out = io.StringIO()
    writer = csv.DictWriter(out, ("name", "unit", "doc", "since"), lineterminator="\n")
    writer.writeheader()
    writer.writerows([*lines, *new])
    return out.getvalue(), len(new)
