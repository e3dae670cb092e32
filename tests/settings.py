"""Settings of a run for tests that want none in particular."""

from __future__ import annotations

from pathlib import Path

from collector.settings import RunSettings
from collector.sources.settings import FeedSettings
from storage_backends.settings import StoreSettings


def run_settings(folder: Path) -> RunSettings:
    """BTCUSDT's depth into `folder`, all else as by default."""
    return RunSettings(
        exchanges=("binanceusdm",),
        symbols=("BTCUSDT",),
        streams=("depth",),
        step=0.00002,
        steps=40,
        interval_s=1,
        reference="best",
        stale_after_s=5,
        store=StoreSettings(data_dir=folder),
        raw=False,
        duration_s=None,
        flush_interval_s=300,
        journal_max_bytes=1 << 30,
        feed=FeedSettings(),
    )
