"""Live side: from an exchange's socket to acknowledged rows in a backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collector.library import OrderBookCollector, TradesCollector

__version__ = "0.1.0"

__all__ = ["OrderBookCollector", "TradesCollector", "__version__"]


def __getattr__(name: str) -> Any:
    """What is exported is imported when it is asked for: a live run must not pay for it."""
    if name in __all__:
        from collector import library

        return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
