"""Futures against mark price and index, and the funding rate. A mark price older than five seconds counts as none."""

from __future__ import annotations

from collector.core.features.registry import Value, feature
from collector.core.features.top import Top
from collector.core.features.workspace import MARK, Signal
from collector.core.flow import EpochFlow
from collector.core.flow import Mark as MarkPrice

FRESH_S = 5
_NS = 1_000_000_000


class Marked(Signal):
    """The newest mark price, if it is fresh."""

    inputs = frozenset({MARK})

    def start(self) -> None:
        self.mark: MarkPrice | None = None
        self.epoch = 0

    def update(self, flow: EpochFlow) -> None:
        mark = flow.mark
        self.epoch = flow.epoch
        self.mark = mark if mark is not None and mark.recv_ns >= (flow.epoch - FRESH_S) * _NS else None


def _register() -> None:
    spans = {"warmup_s": 1, "memory_s": FRESH_S}

    @feature("premium_bps", "bps of mark", "mid price above mark price", Top, Marked, source="1e4 (mid - mark) / mark",
             **spans)  # fmt: skip
    def premium(top: Top, marked: Marked) -> Value:
        mark = marked.mark
        return None if mark is None or top.mid is None else 1e4 * (top.mid - mark.mark_price) / mark.mark_price

    @feature("index_premium_bps", "bps of index", "mark price above index price", Marked,
             source="1e4 (mark - index) / index", **spans)  # fmt: skip
    def index_premium(marked: Marked) -> Value:
        mark = marked.mark
        if mark is None or not mark.index_price:
            return None
        return 1e4 * (mark.mark_price - mark.index_price) / mark.index_price

    @feature("funding_rate_bps", "bps of the position", "funding rate of the interval that runs", Marked,
             source="1e4 r of the mark price stream", **spans)  # fmt: skip
    def funding(marked: Marked) -> Value:
        mark = marked.mark
        return None if mark is None or mark.funding_rate is None else 1e4 * mark.funding_rate

    @feature("funding_in_s", "s", "time until the next funding, by the exchange's stamp and our clock", Marked,
             source="T of the mark price stream - epoch", **spans)  # fmt: skip
    def funding_in(marked: Marked) -> Value:
        mark = marked.mark
        if mark is None or mark.next_funding_ms is None:
            return None
        return mark.next_funding_ms / 1000 - marked.epoch


_register()
