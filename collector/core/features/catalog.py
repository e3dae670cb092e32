"""All features, in the order in which their families are named here."""

from __future__ import annotations

from collector.core.features import (  # noqa: F401  importing registers
    across,
    avwap,
    bias,
    impact,
    indicators,
    liquidations,
    mark,
    orderflow,
    stoikov,
    tape,
    top,
    volatility,
)
from collector.core.features.registry import REGISTRY, FeatureSet, choose

__all__ = ["REGISTRY", "FeatureSet", "choose_features"]


def choose_features(text: str) -> FeatureSet:
    """The set that `all`, `basic`, `none` or names of features, with commas, choose.

    Raises:
        KeyError: a name that no feature has; it is the argument.
    """
    return choose(REGISTRY, [name.strip() for name in text.split(",") if name.strip()])
