"""What features of one market share: signals, each computed once an epoch, after those that it builds on."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar, cast

from collector.core.flow import EpochFlow

BOOK, TRADES, QUOTES, MARK, LIQUIDATIONS = "book", "trades", "quotes", "mark", "liquidations"
INPUTS = (BOOK, TRADES, QUOTES, MARK, LIQUIDATIONS)
"""What features are computed from: the parts of an `EpochFlow`."""

SignalType = TypeVar("SignalType", bound="Signal")


class Signal:
    """State that one or more features read after it was updated with an epoch.

    A subclass asks `workspace.signal` for what it builds on, once, in its `__init__`; whatever it depends on is then up
    to date when `update` runs. `inputs` are those that it reads of the flow itself.

    `start` puts it into the state in which it has seen nothing. It is called before the first epoch, and in each epoch
    in which one of its inputs, or of those that it builds on, lies in a gap; such an epoch is not handed to `update`.
    So an implementation never sees a hole: epochs come `workspace.interval_s` apart.
    """

    inputs: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, workspace: Workspace) -> None:
        """Parameters beyond the workspace must be hashable; they tell signals of one class apart."""

    def start(self) -> None:
        """Forgets everything that was seen."""

    def update(self, flow: EpochFlow) -> None:
        """Takes one epoch."""
        raise NotImplementedError


class Workspace:
    """The signals of one market.

    Attributes:
        interval_s: seconds between epochs.
        steps: every signal with all inputs that it depends on, in an order in which each comes after what it reads.
        keys: class and parameters of each of `steps`.
    """

    def __init__(self, interval_s: int) -> None:
        self.interval_s = interval_s
        self.steps: list[tuple[Signal, frozenset[str]]] = []
        self.keys: list[tuple[Any, ...]] = []
        self._signals: dict[tuple[Any, ...], tuple[Signal, frozenset[str]]] = {}
        self._needed: list[set[str]] = [set()]

    def signal(self, kind: type[SignalType], *parameters: Any) -> SignalType:
        """The one signal of that class and those parameters, made if it is not there yet."""
        key = (kind, *parameters)
        if key not in self._signals:
            self._needed.append(set(kind.inputs))
            made = kind(self, *parameters)
            inputs = frozenset(self._needed.pop())
            self._signals[key] = made, inputs
            self.steps.append(self._signals[key])
            self.keys.append(key)
        found, inputs = self._signals[key]
        self._needed[-1] |= inputs
        return cast(SignalType, found)

    def inputs_since(self) -> frozenset[str]:
        """The inputs of all signals asked for since the last call, from outside of signals."""
        needed = frozenset(self._needed[-1])
        self._needed[-1].clear()
        return needed

    def epochs(self, seconds: int) -> int:
        """A span of time in epochs, rounded up."""
        return -(-seconds // self.interval_s)
