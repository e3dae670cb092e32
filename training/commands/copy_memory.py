"""`training copy-memory`: the copy memory task with the published network."""

from __future__ import annotations

import click

from training.commands.task_options import show, task_options


@click.command("copy-memory")
@task_options(length=1000, channels=10, levels=8, kernel=8, dropout=0.0, learning_rate=5e-3, steps=1200)
def copy_memory(as_json: bool, **settings: float) -> None:
    """Bai et al. 2018, copy memory: repeat ten symbols after T - 1 zeros. Exit code 1 when a symbol is forgotten."""
    from training.bai2018 import Settings, run_copy_memory

    outcome = run_copy_memory(Settings(**settings), None if as_json else click.echo)  # type: ignore[arg-type]
    show(outcome, as_json)
    if outcome.recall is None or outcome.recall < 1.0:
        raise click.exceptions.Exit(1)
