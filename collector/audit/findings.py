"""What an audit finds in single rows: by table, with the first of them named."""

from __future__ import annotations

from typing import Final

import msgspec

from collector.times import show_ns
from storage_backends.interface import Market

_EXAMPLES: Final = 20
_TOLD: Final = 3


class TableCheck(msgspec.Struct):
    """Rows of one table.

    `compared` of them were held against what they were made of. `wrong` counts contradictions: of a row with itself,
    with the book, with the trades. `holes` are places where rows are missing that no gap tells of. `examples` names the
    first 20 of both.
    """

    rows: int = 0
    compared: int = 0
    wrong: int = 0
    explained_holes: int = 0
    holes: int = 0
    examples: list[str] = []


class Findings:
    """Of one market.

    Attributes:
        tables: by name, those that were looked at.
    """

    def __init__(self, market: Market) -> None:
        self.tables: dict[str, TableCheck] = {}
        self._market = market

    def of(self, table: str) -> TableCheck:
        """What was found in a table so far."""
        return self.tables.setdefault(table, TableCheck())

    def wrong(self, table: str, time_ns: int, what: str) -> None:
        """A row contradicts something."""
        self.of(table).wrong += 1
        self._example(table, time_ns, what)

    def hole(self, table: str, time_ns: int, what: str) -> None:
        """Rows are missing from `time_ns` on."""
        self.of(table).holes += 1
        self._example(table, time_ns, what)

    def problems(self) -> list[str]:
        """A line for each of the first few of a table, and one that counts the others."""
        lines = []
        for name, check in self.tables.items():
            told, found = check.examples[:_TOLD], check.wrong + check.holes
            lines += told
            if found > len(told):
                lines.append(f"{name} of {self._name}: {found - len(told)} more")
        return lines

    @property
    def _name(self) -> str:
        return f"{self._market.exchange} {self._market.symbol}"

    def _example(self, table: str, time_ns: int, what: str) -> None:
        examples = self.of(table).examples
        if len(examples) < _EXAMPLES:
            examples.append(f"{table} of {self._name} at {show_ns(time_ns)}: {what}")
