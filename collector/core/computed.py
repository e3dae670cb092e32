"""What is computed from the epochs of one market: the rows of its consumers, and the forecasts of a model."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

from collector.core.batch import Batch
from collector.core.depth_rows import EpochRow, Standing
from collector.core.derived import epoch_consumers, trades_stream
from collector.core.epochs import SECOND_NS
from collector.core.flow import EpochConsumer, EpochFlow, FlowPieces, Listener
from collector.core.forecasts import Forecasts, RowModel
from collector.core.gaps import GapLedger
from collector.core.grid import BookGrid
from collector.core.inputs import SessionStarted
from collector.core.records import Records


class Computed:
    """One for a market. Its rows go into the market's records; without consumers nothing is kept.

    Attributes:
        needs_flow: whether anybody computes from what an epoch received.
    """

    def __init__(self, session: SessionStarted, records: Records, ledger: GapLedger) -> None:
        self.needs_flow = False
        self._channels = session.channels
        self._stale_after_ns = session.stale_after_s * SECOND_NS
        self._records = records
        self._ledger = ledger
        self._flow = FlowPieces()
        self._consumers: list[EpochConsumer] = []
        self._forecasts: Forecasts | None = None
        for consumer in epoch_consumers(session, records.tell):
            self.add(consumer)

    def add(self, consumer: EpochConsumer) -> None:
        """Lets `consumer` compute rows from each epoch, from the one that runs on."""
        self.needs_flow = True
        self._consumers.append(consumer)
        self._records.watcher = self._flow.add

    def use_model(self, model: RowModel, grid: BookGrid | None) -> None:
        """Lets `model` forecast at each row of its table, `books` being the rows of `grid`."""
        self._forecasts = Forecasts(model, self._records.tell)
        if grid is not None and model.table == "books":
            grid.watcher = partial(self._forecast, "books")

    @property
    def wants_history(self) -> set[int]:
        """Lengths (s) of the bars whose past features lack."""
        return {length for one in self._consumers if isinstance(one, Listener) for length in one.wants_history}

    def hear(self, happened: object) -> None:
        """Takes an input that some consumers listen to."""
        for consumer in self._consumers:
            if isinstance(consumer, Listener):
                consumer.hear(happened)

    def depth_rows(self, epochs: range, now: Standing, row: EpochRow | None) -> None:
        """The rows of `depth` were made: `row` is the last of them, and the others hold the same."""
        if self._forecasts is not None and self._forecasts.table == "depth" and row is not None:
            for epoch in epochs:
                at_ns = epoch * SECOND_NS
                self._forecast("depth", at_ns, now.valid(at_ns, self._stale_after_ns), row.fields())

    def consume(
        self, epochs: range, now: Standing, event_ms: int | None, unheard: Collection[str], new: Collection[str]
    ) -> None:
        """Hands each of `epochs` to the consumers, once every stream is settled.

        All that came meanwhile belongs to the first. Of the streams `unheard` nothing came yet, and of those that are
        `new` nothing until this epoch.
        """
        source = trades_stream(self._channels, unheard)
        for epoch in epochs:
            trades, quotes, mark, liquidations = self._flow.take(source)
            in_gap = {*self._ledger.open_gaps, *unheard}
            if epoch == epochs[0]:
                in_gap |= {*self._ledger.touched.values(), *new}
            flow = EpochFlow(
                epoch,
                now.book,
                now.recv_ns,
                now.valid(epoch * SECOND_NS, self._stale_after_ns),
                event_ms,
                trades,
                quotes,
                mark,
                liquidations,
                frozenset(in_gap),
                source,
            )
            for consumer in self._consumers:
                for batch in consumer.take(flow):
                    self._records.add(batch)
                    if batch.table == "features" and self._forecasts is not None:
                        fields = {name: column[0] for name, column in batch.columns.items()}  # type: ignore[index]
                        self._forecast("features", epoch * SECOND_NS, flow.valid, fields)

    def drain(self) -> list[Batch]:
        """The forecasts since the last drain."""
        return [] if self._forecasts is None else self._forecasts.drain()

    def _forecast(self, table: str, at_ns: int, valid: bool, fields: dict[str, Any]) -> None:
        """Shows a row to the model, if it reads that table. A gap of any stream may be in a row of features."""
        if self._forecasts is None or self._forecasts.table != table:
            return
        in_gap = {*self._ledger.open_gaps, *self._ledger.touched.values()}
        if table != "features":
            in_gap &= {"depth"}
        self._forecasts.take(at_ns, fields, sound=valid and not in_gap)
