"""What may be set of a feed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collector.shards import ALONE, Shard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from collector.sources.polls import Poll


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """URLs left None are the exchange's own."""

    url_root: str | None = None
    rest_url: str | None = None
    spot_ws: str | None = None
    futures_ws: str | None = None
    depth_speed_ms: int | None = 100
    anchor_interval_s: float = 600.0
    anchor_limit: int | None = None  # levels; None: 1000, or 5000 for up to ten spot markets
    silence_s: Mapping[str, float] = field(default_factory=dict)  # by channel; the rest as in silence.py
    dead_after_s: float = 150.0  # two and a half of our own ping intervals
    check_interval_s: float = 1.0
    clock_interval_s: float = 300.0
    max_connects_per_5min: int = 150
    reconnect_cap_s: float = 60.0
    rotate_after_s: float = 23 * 3600.0  # the exchange ends a connection after 24 hours
    weight_headroom: float = 0.3
    polls: Sequence[Poll] = ()
    listing_interval_s: float = 300.0  # between looks at what a wildcard means by now
    shard: Shard = ALONE
