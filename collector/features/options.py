"""The option that chooses features."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from collector.errors import ConfigurationError

if TYPE_CHECKING:
    from collector.core.features.registry import FeatureSet


def chosen_features(text: str) -> FeatureSet:
    """The features that --features names.

    Raises:
        ConfigurationError: an unknown name, with the nearest one that exists; or talipp is needed and not installed.
    """
    from collector.core.features.catalog import REGISTRY, choose_features

    try:
        chosen = choose_features(text)
    except KeyError as error:
        name = str(error.args[0])
        near = difflib.get_close_matches(name, ["all", "basic", "none", *(one.name for one in REGISTRY)], n=1)
        hint = f"; did you mean {near[0]}?" if near else "; `collector features` lists them"
        raise ConfigurationError("--features", name, f"is unknown{hint}") from None
    try:
        for one in chosen.features:
            _ = one.inputs  # opens it
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "--features", text, f"needs {error.name}: pip install 'depth-collector[indicators]'"
        ) from error
    return chosen
