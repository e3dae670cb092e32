"""What a live run may be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from collector.core.inputs import SessionStarted
from collector.model_file import ModelFile
from collector.sources.settings import FeedSettings
from collector.ticks import Ticks, ticks_of
from storage_backends.settings import StoreSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """What is computed from trades and book besides `depth`. `ticks` None makes no multi-tick book."""

    bars: tuple[str, ...] = ()
    ticks: Ticks | None = None
    num_levels: int = 15
    ask_rounding: Literal["ceil", "floor"] = "ceil"
    book_grid_ms: int | None = None
    book_depth: int = 25

    def session(self, session: SessionStarted) -> SessionStarted:
        """`session` with these, for its symbol."""
        return msgspec.structs.replace(
            session,
            bars=self.bars,
            tick_sizes=None if self.ticks is None else ticks_of(self.ticks, session.symbol),
            num_levels=self.num_levels,
            ask_rounding=self.ask_rounding,
            book_grid_ms=self.book_grid_ms,
            book_depth=self.book_depth,
        )

    def added_to(self, session: SessionStarted) -> SessionStarted:
        """`session` with those of these tables that are switched on here; what it says of the others stays."""
        ours = self.session(session)
        names = [
            *(["bars"] if self.bars else []),
            *(["tick_sizes", "num_levels", "ask_rounding"] if ours.tick_sizes is not None else []),
            *(["book_grid_ms", "book_depth"] if self.book_grid_ms is not None else []),
        ]
        return msgspec.structs.replace(session, **{name: getattr(ours, name) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """Settings of `run`, checked. `streams` are the exchange's channels (`aggTrade`, …); `context_intervals` of
    klines that features start from."""

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
    features: str = "none"
    context_intervals: tuple[str, ...] = ()
    context_limit: int = 300
    max_batch_rows: int = 1_000_000
    compact: bool = True
    heal: bool = True
    hot: bool = True
    retain_days: int | None = None
    disk_budget_bytes: int | None = None
    raw_max_bytes: int | None = None
    derived: Derived = Derived()
    record_dir: Path | None = None
    record_buffer_size: int = 100
    webhook: str | None = None
    http: str | None = None
    model: ModelFile | None = None
    feed: FeedSettings

    def session(self, symbol: str) -> SessionStarted:
        """What these settings say of a market's session; the exchange's side is for the caller to fill in."""
        return self.derived.session(
            SessionStarted(
                exchange="",
                symbol=symbol,
                futures=False,
                interval_s=self.interval_s,
                step=self.step,
                steps=self.steps,
                reference=self.reference,
                stale_after_s=self.stale_after_s,
                features=self.features,
                model=None if self.model is None else self.model.fingerprint,
            )
        )

    @property
    def dry_run(self) -> bool:
        """Nothing is stored."""
        return self.store.backend == "none"

    @property
    def data_dir(self) -> Path:
        """Where journal and captures are, and with local files the tables."""
        return self.store.data_dir
