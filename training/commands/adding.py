"""`training adding`: the adding problem with the published network."""

from __future__ import annotations

import click

from training.commands.task_options import show, task_options


@click.command()
@task_options(length=200, channels=27, levels=7, kernel=6, dropout=0.0, learning_rate=4e-3, steps=2000)
def adding(as_json: bool, **settings: float) -> None:
    """Bai et al. 2018, the adding problem: the sum of two marked numbers out of T. Exit code 1 when not learnt."""
    from training.bai2018 import Settings, run_adding

    outcome = run_adding(Settings(**settings), None if as_json else click.echo)  # type: ignore[arg-type]
    show(outcome, as_json)
    if outcome.loss > outcome.memoryless / 10:
        raise click.exceptions.Exit(1)
