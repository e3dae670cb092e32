"""The live state as Prometheus metrics, made anew for each scrape. Names begin with `collector_` and end in a unit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from collector.core.latency import BOUNDS_MS
from collector.live_state import Histogram, State

GRADES: Final = {"ok": 0, "degraded": 1, "bad": 2}
_MARKET: Final = ["exchange", "symbol"]


def exposition(state: State | None) -> tuple[bytes, str]:
    """Body and media type. Without a state there is only `collector_up 0`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(state))
    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Families(Collector):
    def __init__(self, state: State | None) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        state = self._state
        yield _gauge("collector_up", "1 while a collector has written a state", 0 if state is None else 1)
        if state is not None:
            yield from _of_process(state)
            yield from _of_storage(state)
            yield from _of_markets(state)


def _of_process(state: State) -> Iterator[Metric]:
    yield _gauge("collector_state_timestamp_seconds", "when the state was written, Unix time", state.now_ns / 1e9)
    yield _gauge("collector_start_timestamp_seconds", "when the run began, Unix time", state.started_ns / 1e9)
    yield _counter("collector_frames_total", "frames received", state.frames)
    yield _gauge("collector_memory_bytes", "resident memory", state.memory_bytes)
    yield _gauge("collector_open_descriptors", "open file descriptors", state.descriptors)
    yield _gauge("collector_max_descriptors", "file descriptors that may be open", state.descriptor_limit)
    offsets = GaugeMetricFamily("collector_clock_offset_seconds", "exchange clock minus ours", labels=["exchange"])
    for exchange, offset_ms in state.clock_offset_ms.items():
        if offset_ms is not None:
            offsets.add_metric([exchange], offset_ms / 1e3)
    used = GaugeMetricFamily("collector_rest_weight_used", "request weight of this minute", labels=["exchange"])
    most = GaugeMetricFamily("collector_rest_weight_limit", "weight that a minute may have", labels=["exchange"])
    pauses = GaugeMetricFamily(
        "collector_rest_pause_seconds", "how long the exchange wants no requests", labels=["exchange"]
    )
    for exchange, weight in state.rest_weight.items():
        used.add_metric([exchange], weight.used)
        most.add_metric([exchange], weight.limit)
        pauses.add_metric([exchange], weight.pause_s)
    yield from (offsets, used, most, pauses)


def _of_storage(state: State) -> Iterator[Metric]:
    yield _gauge("collector_journal_bytes", "rows that wait on disk for the backend", state.journal_bytes)
    yield _gauge("collector_journal_max_bytes", "bound of the journal", state.journal_max_bytes)
    yield _gauge("collector_backend_lag_seconds", "age of the oldest row that waits", state.backend_lag_s)
    away_ns = state.backend_away_since_ns
    away_s = 0.0 if away_ns is None else max(0.0, (state.now_ns - away_ns) / 1e9)
    yield _gauge("collector_backend_away_seconds", "how long nothing has reached the backend", away_s)
    yield _counter("collector_delivered_rows_total", "rows that the backend confirmed", state.delivered_rows)
    yield _counter("collector_refused_rows_total", "rows that the backend refused for good", state.refused_rows)
    yield _gauge("collector_refusing", "1 while new rows are refused, for want of room", int(state.refusing))
    for name, what, lags in (
        ("collector_journal_latency_seconds", "receipt to disk, oldest row of each commit", state.journal_lag),
        ("collector_backend_latency_seconds", "age of the oldest waiting row, each second", state.backend_lag),
    ):
        if lags is not None:
            family = HistogramMetricFamily(name, what)
            _add(family, [], lags)
            yield family


def _of_markets(state: State) -> Iterator[Metric]:
    quality = GaugeMetricFamily("collector_quality", "0 ok, 1 degraded, 2 bad", labels=_MARKET)
    reasons = GaugeMetricFamily("collector_quality_reason", "1 while it holds", labels=[*_MARKET, "reason"])
    epochs = GaugeMetricFamily("collector_epoch_timestamp_seconds", "newest epoch, Unix time", labels=_MARKET)
    valid = GaugeMetricFamily("collector_epoch_valid", "1 while epochs are valid", labels=_MARKET)
    gaps = GaugeMetricFamily("collector_open_gaps", "streams with a gap that has not ended", labels=_MARKET)
    stated = CounterMetricFamily("collector_gaps", "gaps since the start", labels=[*_MARKET, "stream", "reason"])
    down = GaugeMetricFamily("collector_streams_down", "streams without a connection", labels=_MARKET)
    events = CounterMetricFamily("collector_events", "events and duplicates", labels=[*_MARKET, "kind"])
    lags = HistogramMetricFamily(
        "collector_socket_latency_seconds", "exchange's stamp to receipt, sampled", labels=_MARKET
    )
    book = HistogramMetricFamily(
        "collector_book_latency_seconds",
        "receipt until the book holds it, oldest of the depth messages that reach it together",
        labels=_MARKET,
    )
    for market in state.markets:
        labels = [market.exchange, market.symbol]
        quality.add_metric(labels, GRADES[market.grade])
        for reason in market.reasons:
            reasons.add_metric([*labels, reason], 1)
        if market.epoch is not None:
            epochs.add_metric(labels, market.epoch)
        valid.add_metric(labels, int(market.valid))
        gaps.add_metric(labels, len(market.open_gaps))
        for stream, by_reason in market.gaps.items():
            for why, count in by_reason.items():
                stated.add_metric([*labels, stream, why], count)
        down.add_metric(labels, len(market.down))
        for kind, count in market.counts.items():
            events.add_metric([*labels, kind], count)
        _add(lags, labels, market.lag)
        _add(book, labels, market.book_lag)
    yield from (quality, reasons, epochs, valid, gaps, stated, down, events, lags, book)


def _gauge(name: str, what: str, value: float | None) -> Metric:
    family = GaugeMetricFamily(name, what)
    if value is not None:
        family.add_metric([], value)
    return family


def _counter(name: str, what: str, value: int | None) -> Metric:
    family = CounterMetricFamily(name, what)
    if value is not None:
        family.add_metric([], value)
    return family


def _add(family: HistogramMetricFamily, labels: list[str], lags: Histogram) -> None:
    """Every fifth bound is told: half a decade is enough to alert on, and a tenth of the series."""
    buckets: list[tuple[str, float]] = []
    total = 0
    for at, count in enumerate(lags.counts):
        total += count
        if at == len(BOUNDS_MS):
            buckets.append(("+Inf", total))
        elif at % 5 == 0:
            buckets.append((repr(float(f"{BOUNDS_MS[at] / 1e3:.6g}")), total))
    family.add_metric(labels, buckets, lags.sum_ms / 1e3)
