"""`collector health`: is a collector at work here?"""

from __future__ import annotations

from pathlib import Path

import click

from collector.commands.options import config_option
from collector.config import FiniteRange, setting
from collector.errors import EXIT_BAD_NEWS
from collector.health import MAX_AGE_S, problem


@click.command()
@setting("--data-dir", default="data", type=click.Path(path_type=Path), help="folder of journal and tables")
@click.option(
    "--max-age",
    default=MAX_AGE_S,
    show_default=True,
    type=FiniteRange(1),
    help="seconds that the last heartbeat may be old",
)
@config_option
@click.pass_context
def health(context: click.Context, data_dir: Path, max_age: float) -> None:
    """Looks at the heartbeat that `run` writes each second. Exits with 1 when it is missing or old.

    A backend that is away is no reason to be unhealthy: the journal is collecting. `journal` tells of that.
    """
    wrong = problem(data_dir, max_age)
    click.echo(wrong or f"a collector is at work on {data_dir}")
    if wrong is not None:
        context.exit(EXIT_BAD_NEWS)
