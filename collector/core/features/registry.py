"""What a feature is, and the list of those that there are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from collector.core.features.workspace import Workspace

Value: TypeAlias = float | None
Reader: TypeAlias = Callable[[], Value]
"""Gives a feature's value after its signals were updated: finite, or None where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One column of table `features`.

    Attributes:
        name: of the column; it never changes its meaning within a version.
        unit: of its values. Fractions of prices are in bps (1e-4), volatility per square root of a second.
        doc: what it tells, in one sentence.
        source: where the formula comes from.
        warmup_s: seconds of epochs without a gap after which it is known at the latest, if its inputs move.
        memory_s: no value depends on more than the last so many seconds. None: on everything since the last gap.
        version: goes up when the same inputs give other values.
        cheap: part of the set `basic`.
        open: makes it for one market: asks the workspace for its signals, and gives what reads them. A feature that is
            built from a file (a model) reads it before, and keeps it in this function.
        across: computed from rows of several markets, see `across`; then `open` is not called.
    """

    name: str
    unit: str
    doc: str
    source: str
    warmup_s: int
    memory_s: int | None
    version: int = 1
    cheap: bool = False
    across: bool = False
    open: Callable[[Workspace], Reader] = field(repr=False, compare=False)

    @property
    def inputs(self) -> frozenset[str]:
        """What it needs of an `EpochFlow`, through all its signals."""
        if self.across:
            return frozenset()
        workspace = Workspace(1)
        self.open(workspace)
        return workspace.inputs_since()


class Registry:
    """Features by name, in the order in which they were registered."""

    def __init__(self) -> None:
        self._features: dict[str, Feature] = {}

    def add(self, feature: Feature) -> None:
        """Registers a feature.

        Raises:
            ValueError: its name is taken.
        """
        if feature.name in self._features:
            raise ValueError(f"feature {feature.name} is registered twice")
        self._features[feature.name] = feature

    def feature(self, name: str, unit: str, doc: str, *signals: Any, **attributes: Any) -> Callable[[Any], Any]:
        """Registers the decorated function, which is handed the `signals` and gives the value.

        A signal is its class, or a tuple of class and parameters. `attributes` are those of `Feature`.
        """
        keys = [one if isinstance(one, tuple) else (one,) for one in signals]

        def register(read: Callable[..., Value]) -> Callable[..., Value]:
            def opened(workspace: Workspace) -> Reader:
                found = [workspace.signal(*key) for key in keys]
                if len(found) == 1:
                    (only,) = found
                    return lambda: read(only)
                return lambda: read(*found)

            self.add(Feature(name=name, unit=unit, doc=doc, open=opened, **attributes))
            return read

        return register

    def __iter__(self) -> Any:
        return iter(self._features.values())

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, name: str) -> Feature:
        return self._features[name]

    def __contains__(self, name: object) -> bool:
        return name in self._features


REGISTRY = Registry()
feature = REGISTRY.feature


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Features that are computed together. `label` stands in each row: the set's name, and a checksum of the names and
    versions of its features, so that rows of one label were computed alike."""

    name: str
    features: tuple[Feature, ...]

    @property
    def label(self) -> str:
        """As in `basic@1f0c9a2e`."""
        text = ",".join(f"{one.name}={one.version}" for one in self.features)
        return f"{self.name}@{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def choose(registry: Registry, names: Sequence[str]) -> FeatureSet:
    """The set that a configuration names: `all`, `basic`, `none`, or names of features.

    Raises:
        KeyError: a name that nothing has; it is the argument.
    """
    wanted: list[str] = []
    for name in names:
        if name == "all":
            wanted += [one.name for one in registry]
        elif name == "basic":
            wanted += [one.name for one in registry if one.cheap]
        elif name in registry:
            wanted.append(name)
        elif name != "none":
            raise KeyError(name)
    chosen = tuple(one for one in registry if one.name in set(wanted))
    named = names[0] if len(names) == 1 and names[0] in ("all", "basic") else "custom"
    return FeatureSet(named, chosen)
