"""What an audit says of one market."""

from __future__ import annotations

from typing import Any

import msgspec

from collector.audit.findings import TableCheck

EXAMPLES = 20
"""Of what is wrong, so many are shown."""


class Chain(msgspec.Struct):
    """Ids of a stream. A break is a range of missing ids that no stored gap explains; `breaks` shows the first 20."""

    rows: int = 0
    first_id: int | None = None
    last_id: int | None = None
    explained: int = 0
    unexplained: int = 0
    breaks: list[tuple[int, int]] = []


class EpochCheck(msgspec.Struct):
    """Rows of `depth`. Holes are between epochs; explained ones lie inside a stored gap."""

    rows: int = 0
    valid: int = 0
    first: int | None = None
    last: int | None = None
    interval_s: int | None = None
    explained_holes: int = 0
    unexplained_holes: int = 0
    holes: list[tuple[int, int]] = []


class BookCheck(msgspec.Struct):
    """The book rebuilt from anchors and diffs.

    `equal` of `compared` diffs left best prices equal to the newest book_ticker at or before them. `unreported` ones
    differ where book_ticker has nothing to say: it sent nothing since the update that the diff follows on, or what it
    sent is in a gap or was not yet there when collecting ended. `left_out` ones differ where the next quotes agree
    again, and all that was received in between is stored, as the collector states. `differing` ones contradict it.
    `unreadable` ones hold numbers that cannot be exact.
    """

    diffs: int = 0
    rebuilt: int = 0
    crossed: int = 0
    compared: int = 0
    equal: int = 0
    unreported: int = 0
    left_out: int = 0
    differing: int = 0
    anchors: int = 0
    anchor_levels: int = 0
    anchor_levels_differing: int = 0
    unreadable: int = 0
    examples: list[dict[str, Any]] = []


class GapCount(msgspec.Struct):
    """Gaps of one stream."""

    gaps: int = 0
    open: int = 0
    healed: int = 0


class CoveredSeconds(msgspec.Struct):
    """Of the epochs from first to last, those in whose second no stream has a gap left, whoever collected it.

    `ranges` are first and last epoch of each unbroken run.
    """

    seconds: int = 0
    of: int = 0
    ranges: list[tuple[int, int]] = []


class MarketReport(msgspec.Struct):
    """What was found in one market; `problems` is empty when the store keeps its promise there."""

    exchange: str
    symbol: str
    chains: dict[str, Chain]
    epochs: EpochCheck
    book: BookCheck
    gaps: dict[str, GapCount]
    quarantined: int
    covered: CoveredSeconds
    tables: dict[str, TableCheck]
    problems: list[str]
