"""--log-level and --log-format, of `run` and of every other command that works for long."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

import click

from collector.config import setting
from collector.logs import FORMATS, configure

Command = TypeVar("Command", bound=Callable[..., Any])

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")


def log_settings(command: Command) -> Command:
    """The two options, for a command that sends its logs where it likes."""
    command = setting(
        "--log-format", default="text", type=click.Choice(FORMATS), help="logs for people, or a JSON object a line"
    )(command)
    return setting("--log-level", default="WARNING", type=click.Choice(LEVELS, case_sensitive=False))(command)


def logs_to_stderr(command: Callable[..., Any]) -> Callable[..., Any]:
    """The two options, for a command whose logs go to standard error and that need not know of them."""

    @wraps(command)
    def with_logs(*args: Any, log_level: str, log_format: str, **options: Any) -> Any:
        configure(log_level, log_format, logging.StreamHandler())
        return command(*args, **options)

    return log_settings(with_logs)
