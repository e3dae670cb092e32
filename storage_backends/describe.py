"""The tables as a page for people: `python -m storage_backends.describe > SCHEMA.md`."""

from __future__ import annotations

import sys
from typing import Final

from storage_backends.schema import TABLES, Table

_HEAD: Final = """\
# Tables

One row a key in a scan; in the files themselves a key may stand twice, see GUARANTEES.md. Beside these columns, folders
give `exchange`, `symbol` and `date` (UTC, by the time of the table). *null* marks columns that may be. Made from
`storage_backends/schema` by `python -m storage_backends.describe`.
"""


def describe() -> str:
    """Every table with its columns, as Markdown."""
    return "\n".join([_HEAD, *(_section(table) for table in TABLES.values())])


def _section(table: Table) -> str:
    rows = [
        f"| `{field.name}` | {_type(str(field.type))}{', *null*' if field.nullable else ''} | {_doc(field.metadata)} |"
        for field in table.schema
    ]
    keys = ", ".join(f"`{name}`" for name in table.key)
    times = f"time: `{table.time}` ({table.time_unit})"
    head = [
        f"## {table.name}",
        "",
        f"{table.description[0].upper()}{table.description[1:]}. Key: {keys}; {times}; version {table.version}.",
        "",
        "| column | type | what |",
        "|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


def _type(name: str) -> str:
    return name.replace("list<item: ", "list of ").replace(" not null", "").removesuffix(">")


def _doc(metadata: dict[bytes, bytes]) -> str:
    return metadata[b"doc"].decode().replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(describe())
