"""The command line: one module a command, imported when it is called. Without a command, `run`."""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from collector import __version__
from collector.config import PREFIX, Setting, check_environment, load_environment_file
from collector.errors import EXIT_MACHINE, EXIT_USAGE, CollectorError, ConfigurationError

COMMANDS = (
    "run",
    "demo",
    "doctor",
    "simulate",
    "backfill",
    "replay",
    "verify",
    "book",
    "gaps",
    "report",
    "stats",
    "compact",
    "copy",
    "tables",
    "journal",
    "health",
    "serve",
    "tui",
    "features",
)


_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE}
"""Failures of the disk or the machine that may reach us from anywhere, such as output into a file on a full disk."""


class Commands(click.Group):
    """Finds a command in the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"collector.commands.{cmd_name}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS:
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            mend = f"did you mean {near[0]}?" if near else "`--help` lists the commands"
            if name in ("train", "training", "export", "predict", "evaluate"):
                mend = "models have a program of their own: `python -m training`, `./run.sh training`"
            elif name in ("start", "collect", "stream", "record"):
                mend = "did you mean run?"
            raise ConfigurationError("command", name, f"is unknown; {mend}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in {"--help", "--version"}):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=Commands, invoke_without_command=False)
@click.version_option(__version__, prog_name="collector")
def collector() -> None:
    """Order-book market data that can be trusted: every message stored once, or inside a gap that is stored too."""


def options() -> set[str]:
    """The names of all settings of all commands."""
    context = click.Context(collector)
    names: set[str] = set()
    for name in COMMANDS:
        command = collector.get_command(context, name)
        assert command is not None
        names |= {str(parameter.name) for parameter in command.params if isinstance(parameter, Setting)}
    return names


def main(args: list[str] | None = None) -> NoReturn:
    """Runs a command and exits: 0 good, 1 bad news, 2 wrong usage or configuration, 3 the machine failed."""
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if os.getpid() == 1 and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            # The kernel gives the first process of a container no signal that it does not handle; until `run` does,
            # and in every other command, a stop would wait for the runtime to kill.
            signal.signal(signal.SIGTERM, _terminated)
        environment_file = Path(".env")
        # To know all settings, all commands are imported: 3 MB that are spent only where something may be wrong.
        if environment_file.is_file() or any(name.startswith(PREFIX) for name in os.environ):
            known = options()
            load_environment_file(environment_file, known)
            check_environment(os.environ, known)
        code: Any = collector.main(args, prog_name="collector", standalone_mode=False)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = 130
    except click.ClickException as error:
        code = _complain(error.format_message(), EXIT_USAGE)
    except CollectorError as error:
        code = _complain(str(error), error.exit_code)
    except BrokenPipeError:
        # The reader of a pipe has seen enough. Python would complain once more while it flushes at exit.
        _say_no_more()
        code = 0
    except OSError as error:
        if error.errno not in _MACHINE:
            raise
        _say_no_more()
        code = _complain(f"stopped: {error}", EXIT_MACHINE)
    sys.exit(code if isinstance(code, int) else 0)


def _say_no_more() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminated(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


def _complain(message: str, code: int) -> int:
    click.echo(f"collector: {' '.join(message.split())}", err=True)
    return code
