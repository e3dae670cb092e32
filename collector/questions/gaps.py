"""What is missing of stored markets, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from collector.audit.healing import read_remaining
from collector.questions.rows import GivenUp, Stopped
from storage_backends.interface import Backend, Market


def gaps(
    backend: Backend,
    markets: Iterable[Market],
    limit: int,
    stopped: Stopped,
    start_ns: int | None = None,
    end_ns: int | None = None,
    *,
    healed: bool = True,
) -> list[dict[str, Any]]:
    """The last `limit` gaps that touch [start_ns, end_ns), each by its newest statement, in the order they were found.

    A gap of one collector that the rows of another one fill is healed, and of one that they fill in part the rest is
    given: as the command `gaps` and `verify` count. `healed` False leaves out those of which nothing is missing any
    more.

    Raises:
        GivenUp: `stopped`.
    """
    found = []
    for market in markets:
        if stopped():
            raise GivenUp
        found += [
            {**market._asdict(), **msgspec.structs.asdict(gap)}
            for gap in read_remaining(backend, market, start_ns, end_ns)
            if healed or not gap.healed
        ]
    return sorted(found, key=lambda gap: int(gap["detected_ns"]))[-limit:]
