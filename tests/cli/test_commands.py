"""What holds for all commands: their help, the spelling of their options."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from collector.cli import COMMANDS
from collector.cli import collector as collector_commands
from tests.cli.call import Call


def every_option() -> Iterator[tuple[str, set[str]]]:
    """Every option of both programs: its command, and its spellings."""
    from training.cli import training

    def of(command: click.Command, name: str) -> Iterator[tuple[str, set[str]]]:
        yield from ((name, set(one.opts)) for one in command.params if isinstance(one, click.Option))
        if isinstance(command, click.Group):
            ctx = click.Context(command)
            for other in command.list_commands(ctx):
                found = command.get_command(ctx, other)
                assert found is not None
                yield from of(found, f"{name} {other}")

    yield from of(collector_commands, "collector")
    yield from of(training, "training")


@pytest.mark.parametrize(
    ("spelling", "other"),
    [
        ("--start", "--from"), ("--end", "--to"), ("--http-host", "--host"), ("--http-port", "--port"),
        ("--out", "--output"), ("--symbol", "-s"),
    ],
)  # fmt: skip
def test_what_means_the_same_can_be_spelled_alike_everywhere(spelling: str, other: str) -> None:
    found = [(command, names) for command, names in every_option() if spelling in names]
    assert found
    assert [command for command, names in found if other not in names] == []


def test_every_command_has_help(call: Call) -> None:
    for command in COMMANDS:
        code, out, _ = call(command, "--help")
        assert code == 0
        assert "Usage: collector" in out
