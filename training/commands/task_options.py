"""Options of the tasks of others, and how their outcome is shown."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.bai2018 import Outcome


def task_options(**defaults: float) -> Callable[[Any], Any]:
    """One option for each of `bai2018.Settings`, with the task's defaults."""
    known: dict[str, float] = {**defaults, "batch_size": 32, "seed": 1111, "threads": 1}

    def decorate(command: Any) -> Any:
        for name, value in reversed(known.items()):
            command = click.option(f"--{name.replace('_', '-')}", default=value, type=type(value), show_default=True)(
                command
            )
        return click.option("--json", "as_json", is_flag=True, help="the outcome as one object")(command)

    return decorate


def show(outcome: Outcome, as_json: bool) -> None:
    """One line, or one object."""
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(outcome)))
        return
    recall = "" if outcome.recall is None else f", recall {outcome.recall:.2%}"
    click.echo(
        f"loss {outcome.loss:.2e} (memoryless {outcome.memoryless:.2e}){recall}; {outcome.parameters:,} parameters, "
        f"receptive field {outcome.receptive_field}, {outcome.steps:,} steps, {outcome.cpu_s:.0f} CPU s"
    )
