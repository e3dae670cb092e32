"""`collector journal`: what waits for the backend, and why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from collector.clock import SystemClock
from collector.commands.options import config_option
from collector.config import setting
from collector.core.inputs import Refused
from collector.errors import EXIT_BAD_NEWS, ConfigurationError, MachineFailed
from collector.journal.errors import JournalError
from collector.journal.format import JOURNAL_FILE
from collector.journal.journal import Journal
from collector.journal.status import JournalStatus, read_status
from collector.refusals import Refusals, gap_rows
from collector.times import show_ns
from storage_backends.interface import Market


@click.group(invoke_without_command=True)
@setting("--data-dir", default="data", type=click.Path(path_type=Path), help="folder of journal and tables")
@config_option
@click.option("--json", "as_json", is_flag=True, help="one object; null when there is no journal")
@click.pass_context
def journal(context: click.Context, data_dir: Path, as_json: bool) -> None:
    """Depth, oldest row, last error, open plans and dead letters. Works while a collector runs, and changes nothing.

    Exits with 1 when there are dead letters: rows that the backend refused for good. `requeue` and `drop` decide about
    them, while no collector runs.
    """
    if context.invoked_subcommand is not None:
        return
    path = data_dir / JOURNAL_FILE
    try:
        status = read_status(path)
    except JournalError as error:
        raise ConfigurationError("--data-dir", data_dir, str(error)) from error
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(status), indent=2))
    elif status is None:
        click.echo(f"no journal in {data_dir}: no collector has stored anything there yet")
    else:
        _show(status, SystemClock().now_ns())
    if status is not None and status.dead_letters:
        context.exit(EXIT_BAD_NEWS)


_folder = click.option("--data-dir", type=click.Path(path_type=Path), help="folder of the journal  [default: as above]")


@journal.command()
@_folder
@click.pass_context
def requeue(context: click.Context, data_dir: Path | None) -> None:
    """Lets dead letters wait for the backend again, once it takes them. The gaps that were stated stay."""
    with _opened(context, data_dir) as opened:
        rows = opened.requeue()
        left = sum(1 for _ in opened.dead_letters())
    click.echo(f"{rows:,} rows wait again and are delivered by the next `collector run`")
    if left:
        click.echo(f"{left:,} damaged batches stay dead letters; `collector journal drop` forgets them")


@journal.command()
@_folder
@click.option("--yes", is_flag=True, help="really forget the rows")
@click.pass_context
def drop(context: click.Context, data_dir: Path | None, yes: bool) -> None:
    """Forgets dead letters for good. What they held becomes a gap, `dropped`, which the next run stores."""
    with _opened(context, data_dir) as opened:
        refusals, ids = Refusals(), []
        unread: list[tuple[Market, Refused]] = []
        for id_, table, market, created_ns, batch in opened.dead_letters():
            ids.append(id_)
            if batch is not None:
                refusals.add([(market, batch)], "dropped")
            else:
                stream = "depth" if table == "diffs" else table
                unread.append((market, Refused(stream, "dropped", None, None, created_ns, created_ns)))
        if not yes:
            raise ConfigurationError("--yes", "is missing", f"{len(ids):,} dead letters would be forgotten for good")
        opened.commit(gap_rows([*refusals.take(), *unread], SystemClock().now_ns()), {})
        opened.drop_dead_letters(ids)
    click.echo(f"{len(ids):,} dead letters are forgotten; what they held is a gap")


@contextmanager
def _opened(context: click.Context, data_dir: Path | None) -> Iterator[Journal]:
    """The journal for writing, which a running collector holds."""
    assert context.parent is not None
    folder: Path = data_dir or context.parent.params["data_dir"]
    path = folder / JOURNAL_FILE
    if not path.exists():
        raise ConfigurationError(
            "--data-dir", folder, "holds no journal; name the folder that `collector run` wrote to"
        )
    try:
        opened = Journal.open(path, clock=SystemClock())
    except JournalError as error:
        raise ConfigurationError("--data-dir", folder, str(error)) from error
    try:
        yield opened
    except JournalError as error:
        raise MachineFailed(str(error)) from error
    finally:
        opened.close()


def _show(status: JournalStatus, now_ns: int) -> None:
    share = f" of {status.max_bytes:,} ({status.bytes / status.max_bytes:.1%})" if status.max_bytes else ""
    click.echo(f"collector {status.collector_id}: {status.rows:,} rows wait, {status.bytes:,} bytes{share}")
    click.echo(f"file: {status.file_bytes:,} bytes on disk")
    if status.oldest_ns is not None:
        click.echo(f"oldest row: {show_ns(status.oldest_ns)}, {(now_ns - status.oldest_ns) / 1e9:,.0f} s ago")
    for depth in status.tables:
        click.echo(f"  {depth.table:<12} {depth.rows:>12,} rows {depth.bytes:>14,} bytes  {depth.markets:,} markets")
    if status.plans:
        click.echo(f"writes begun and not confirmed: {len(status.plans)}")
    for plan in status.plans[:10]:
        click.echo(
            f"  {plan.table:<12} {plan.rows:>12,} rows  {plan.exchange} {plan.symbol}  {show_ns(plan.planned_ns)}"
        )
    if status.last_error is not None:
        click.echo(f"last error: {show_ns(status.last_error_ns)}  {status.last_error}")
    if status.dead_letters:
        click.echo("dead letters (refused for good, kept in the journal):")
    for dead in status.dead_letters:
        click.echo(f"  {dead.table:<12} {dead.rows:>12,} rows  {dead.exchange} {dead.symbol}  {dead.reason}")
