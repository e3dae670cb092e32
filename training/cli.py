"""The command line: one module a command, imported when it is called."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, NoReturn

import click

from training.errors import TrainingError

COMMANDS = {
    "export": "tables of a store as Parquet, or as a memory map for training",
    "train": "a TCN on a Parquet file or an exported memory map",
    "evaluate": "skill on held-out rows, with intervals and baselines",
    "predict": "forecasts for every row of a file",
    "report": "one HTML page: skill, losses, importance, coverage",
    "demo": "simulator, store, export, training, report: with a signal and without",
    "copy-memory": "the copy memory task of Bai et al. 2018",
    "adding": "the adding problem of Bai et al. 2018",
    "fi2010": "train and test on the FI-2010 files of limit order books",
}


class Commands(click.Group):
    """Finds a command in the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"training.commands.{name}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Without importing every command, and torch with some of them.
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands)
def training() -> None:
    """From stored tables to a model that is honest about what it knows."""


def main(args: list[str] | None = None) -> NoReturn:
    """Runs a command and exits: 0 good, 1 bad news, 2 wrong usage, configuration or data, 3 the machine failed."""
    try:
        code: Any = training.main(args, prog_name="training", standalone_mode=False)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = 130
    except click.ClickException as error:
        code = _complain(error.format_message(), 2)
    except TrainingError as error:
        code = _complain(str(error), error.exit_code)
    except BrokenPipeError:
        # The reader of a pipe has seen enough. Python would complain once more while it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code if isinstance(code, int) else 0)


def _complain(message: str, code: int) -> int:
    click.echo(f"training: {' '.join(message.split())}", err=True)
    return code
