"""What a table is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import pyarrow as pa

NS_PER_UNIT: Final = {"s": 1_000_000_000, "ms": 1_000_000, "ns": 1}


@dataclass(frozen=True)
class Table:
    """One table.

    A key is unique within a market once scanned. `time` names the int64 column, in `time_unit`, that ranges and dates
    go by. Where a key was stored more than once, `prefer` says which row a scan gives: (column, "ascending" or
    "descending"), the first column deciding first, nulls last; what is still equal goes by file name.
    `key_spread_ns` bounds how far apart the times of rows with one key can lie; 0 where the key fixes the time.
    """

    name: str
    schema: pa.Schema
    key: tuple[str, ...]
    time: str
    time_unit: Literal["s", "ms", "ns"]
    version: int
    description: str
    prefer: tuple[tuple[str, Literal["ascending", "descending"]], ...] = ()
    key_spread_ns: int = 0

    @property
    def ns_per_unit(self) -> int:
        """Nanoseconds in one unit of the time column."""
        return NS_PER_UNIT[self.time_unit]

    @property
    def span(self) -> str:
        """The integer column whose smallest and largest value name a file: the key's first, or else the time."""
        return self.key[0] if pa.types.is_integer(self.schema.field(self.key[0]).type) else self.time
