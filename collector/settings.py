"""What a live run may be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from collector.sources.settings import FeedSettings
from storage_backends.settings import StoreSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """Settings of `run`, checked. `streams` are the exchange's channels (`aggTrade`, …)."""

    exchanges: tuple[str, ...]
    symbols: tuple[str, ...]
    streams: tuple[str, ...]
    step: float
    steps: int
    interval_s: int
    reference: str
    stale_after_s: float
    store: StoreSettings
    raw: bool
    duration_s: float | None
    flush_interval_s: float
    journal_max_bytes: int
    max_batch_rows: int = 1_000_000
    compact: bool = True
    retain_days: int | None = None
    disk_budget_bytes: int | None = None
    raw_max_bytes: int | None = None
    record_dir: Path | None = None
    record_buffer_size: int = 100
    webhook: str | None = None
    http: str | None = None
    feed: FeedSettings

    @property
    def dry_run(self) -> bool:
        """Nothing is stored."""
        return self.store.backend == "none"

    @property
    def data_dir(self) -> Path:
        """Where journal and captures are, and with local files the tables."""
        return self.store.data_dir
