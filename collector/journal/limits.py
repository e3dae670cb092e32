"""When rows are delivered, and how long a failed delivery waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import tenacity

if TYPE_CHECKING:
    from collector.journal.plans import Group


def pauses_up_to(longest_s: float) -> tenacity.wait_random_exponential:
    """The AWS builders' library calls it full jitter: anything from zero to a bound that doubles up to `longest_s`."""
    return tenacity.wait_random_exponential(multiplier=1, max=longest_s)


FULL_JITTER = pauses_up_to(60)


@dataclass(frozen=True, slots=True)
class DeliveryLimits:
    """When a group is written: at so many rows or bytes, or when its oldest batch is so old.

    A write covers at most `max_span_s` of receipt, so that a backlog is worked off in order of time over all markets.
    """

    flush_interval_s: float = 300.0
    max_rows: int = 1_000_000
    max_bytes: int = 16 << 20
    max_span_s: float = 300.0

    def ready(self, group: Group, now_ns: int) -> bool:
        """Whether the group is to be written now."""
        age_s = (now_ns - group.oldest_ns) / 1e9
        return group.rows >= self.max_rows or group.bytes >= self.max_bytes or age_s >= self.flush_interval_s
