"""Every command that a page shows is one that the program takes, option by option."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from collector.cli import collector
from training.cli import training

ROOT = Path(__file__).parents[2]
PAGES = [
    *(path for path in ROOT.glob("*.md") if path.name != "CHANGELOG.md"),
    *(ROOT / name for name in ("infra/README.md", "benchmarks/README.md", "examples/README.md")),
    *(ROOT / "docs").glob("*.md"),
]
# What stands before the arguments of a command, and what it runs.
_STARTS = {
    r"\./run\.sh local": (collector, ()),
    r"\./run\.sh exec": (collector, ()),
    r"\./run\.sh training": (training, ()),
    r"\./run\.sh train": (training, ("train",)),
    r"\./run\.sh": (collector, ()),
    r"python3? -m collector": (collector, ()),
    r"python3? -m training": (training, ()),
    r"collector(?= [a-z])": (collector, ()),
}
_COMMAND = re.compile(
    rf"(?:^|(?<=[\s`(/]))(?P<start>{'|'.join(_STARTS)})(?P<arguments>(?: (?=[-a-z])[^\n`;#|&)>]*)?)(?=\W|$)"
)
_SHOWN = re.compile(r"^ {4,}(?P<block>.*)$|`(?P<inline>[^`\n]+)`", re.MULTILINE)


def shown(page: Path) -> Iterator[tuple[str, str]]:
    """(start, arguments) of each command in a block or between backticks."""
    text = re.sub(r" *\\\n *", " ", page.read_text())
    for found in _SHOWN.finditer(text):
        code = found["block"] or found["inline"] or ""
        for command in _COMMAND.finditer(code):
            yield command["start"], command["arguments"]


def check(start: str, arguments: str) -> None:
    """Fails with what is not known of it."""
    command, first = next(found for pattern, found in _STARTS.items() if re.fullmatch(pattern.partition("(")[0], start))
    words = [*first, *shlex.split(arguments)]
    if start == "./run.sh" and words and not words[0].startswith("-"):
        return  # one of the script's own
    if command is collector and (not words or words[0].startswith("-")):
        words.insert(0, "run")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0).partition("|")[0]  # `tables create|check` is either
        inner = command.get_command(click.Context(command), name)
        if inner is None and command not in (collector, training):
            break  # an argument, of a group that works by itself too
        assert inner is not None, f"there is no command {name!r}"
        command = inner
    known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {"--help"}
    for word in words:
        option = word.partition("=")[0]
        assert option in known or not re.match("-[a-z-]", option), f"{command.name} has no option {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_on_a_page_is_known(page: Path) -> None:
    wrong = []
    for start, arguments in shown(page):
        try:
            check(start, arguments)
        except (AssertionError, ValueError) as error:
            wrong.append(f"{start}{arguments}: {error}")
    assert not wrong, "\n".join(wrong)


def test_commands_are_found() -> None:
    assert sum(1 for page in PAGES for _ in shown(page)) > 100
    with pytest.raises(AssertionError, match="no option --nonsense"):
        check("./run.sh local", " gaps --nonsense")
    with pytest.raises(AssertionError, match="no command 'nonsense'"):
        check("collector", " nonsense")
