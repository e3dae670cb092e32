"""What became of a backfill."""

from __future__ import annotations

import msgspec

from collector.times import show_ns


class OutOfReach(msgspec.Struct):
    """What was asked for and cannot be had: ids where they are known, and times in ms by the exchange's clock."""

    reason: str
    from_id: int | None = None
    to_id: int | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    def __str__(self) -> str:
        what = [] if self.from_id is None else [f"ids {self.from_id}…{self.to_id}"]
        if self.from_ms is not None:
            end = "" if self.to_ms is None else show_ns(self.to_ms * 1_000_000)
            what.append(f"{show_ns(self.from_ms * 1_000_000)} to {end}")
        return f"{', '.join(what)}: {self.reason}"


class Outcome(msgspec.Struct):
    """One market. Rows are those that this run stored, by where they came from."""

    exchange: str
    symbol: str
    table: str
    known: int = 0
    """Rows of the range that were stored before, or wait in a collector's journal."""
    rest: int = 0
    archive: int = 0
    made: int = 0
    """Bars that were made of stored trades."""
    requests: int = 0
    healed: int = 0
    """Gaps that are stated as healed now."""
    unreadable: int = 0
    """Rows that the exchange gave and no table can hold."""
    first_id: int | None = None
    last_id: int | None = None
    out_of_reach: list[OutOfReach] = []

    @property
    def good(self) -> bool:
        """Whether all that was asked for is stored now."""
        return not self.out_of_reach and not self.unreadable
