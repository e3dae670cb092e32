"""Computes a set of features of one market, epoch by epoch. It gives rows of table `features`.

A value is None until enough was seen, in an epoch in which one of its inputs lies in a gap, and from there on until
enough was seen again. The same epochs in the same order give the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from collector.core.batch import Batch
from collector.core.epochs import SECOND_NS
from collector.core.features.avwap import Avwap
from collector.core.features.bars import Bars
from collector.core.features.registry import FeatureSet, Reader
from collector.core.features.workspace import BOOK, LIQUIDATIONS, MARK, QUOTES, TRADES, Signal, Workspace
from collector.core.flow import EpochFlow
from collector.core.inputs import AvwapAnchor, History
from collector.core.records import Tell

_STREAM_OF = {QUOTES: "book_ticker", MARK: "mark_price", LIQUIDATIONS: "liquidations"}


class FeatureEngine:
    """The features of one market in one session; an `EpochConsumer` and `Listener`.

    A feature one of whose inputs the session does not collect is always None, and costs nothing.

    Attributes:
        idle: the features that are None for that reason.
        workspace: its signals.
        readers: what gives the value of each of `names`, with the inputs that it depends on.
        failure: what went wrong in a feature, if something did. From then on all values are None, and rows go on.
    """

    def __init__(self, chosen: FeatureSet, interval_s: int, collected: Iterable[str], tell: Tell | None = None) -> None:
        """`collected` names the session's streams as tables do: depth, trades, …; `tell` makes an event."""
        self._tell = tell
        streams = set(collected)
        self._trades = "trades" if "trades" in streams else "raw_trades"
        available = {name for name, stream in _STREAM_OF.items() if stream in streams}
        available |= {BOOK} if "depth" in streams else set()
        available |= {TRADES} if self._trades in streams else set()
        self._label = chosen.label
        self._size = len(chosen.features)
        self.idle = [one.name for one in chosen.features if one.across or not one.inputs <= available]
        live = [one for one in chosen.features if one.name not in set(self.idle)]
        self.names = tuple(one.name for one in live)
        self.failure: str | None = None
        self.workspace = workspace = Workspace(interval_s)
        self.readers: list[tuple[Reader, frozenset[str]]] = []
        for one in live:
            read = one.open(workspace)
            self.readers.append((read, workspace.inputs_since()))
        self._signals: list[tuple[Signal, frozenset[str]]] = workspace.steps
        for signal, _ in self._signals:
            signal.start()

    def take(self, flow: EpochFlow) -> Iterable[Batch]:
        """The row of one epoch."""
        values = self.values(flow)
        columns: dict[str, Any] = {
            "epoch": [flow.epoch],
            "feature_set": [self._label],
            "valid": [flow.valid],
            "num_features": [self._size],
        }
        columns.update((name, [value]) for name, value in zip(self.names, values, strict=True))
        return (Batch("features", columns),)

    def values(self, flow: EpochFlow) -> list[float | None]:
        """The values of one epoch, one for each of `names`."""
        if self.failure is not None:
            return [None] * len(self.readers)
        broken = self._broken(flow)
        try:
            if not broken:
                for signal, _ in self._signals:
                    signal.update(flow)
                return [read() for read, _ in self.readers]
            for signal, inputs in self._signals:
                if inputs.isdisjoint(broken):
                    signal.update(flow)
                else:
                    signal.start()
            return [read() if inputs.isdisjoint(broken) else None for read, inputs in self.readers]
        except (ArithmeticError, ValueError, LookupError) as error:
            self.failure = f"epoch {flow.epoch}: {error!r}"
            if self._tell is not None:
                self._tell(flow.epoch * SECOND_NS, "features_failed", self.failure)
            return [None] * len(self.readers)

    def hear(self, happened: object) -> None:
        """Takes history that came, or a new anchor of the AVWAP."""
        for signal, _ in self._signals:
            if isinstance(happened, History) and isinstance(signal, Bars):
                signal.seed(happened)
            elif isinstance(happened, AvwapAnchor) and isinstance(signal, Avwap):
                signal.anchor(manual=happened.mode == "manual")

    @property
    def wants_history(self) -> set[int]:
        """Lengths (s) of bars that began anew since history came."""
        return {signal.length_s for signal, _ in self._signals if isinstance(signal, Bars) and signal.bare}

    def _broken(self, flow: EpochFlow) -> set[str]:
        """The inputs that lie in a gap in this epoch."""
        broken = {name for name, stream in _STREAM_OF.items() if stream in flow.in_gap} if flow.in_gap else set()
        if flow.in_gap and self._trades in flow.in_gap:
            broken.add(TRADES)
        if not flow.valid or flow.book is None:
            broken.add(BOOK)
        return broken
