"""One exchange out of ccxt.pro, without the hundred others.

The packages `ccxt`, `ccxt.async_support` and `ccxt.pro` import every exchange when they are first imported: 110 MB for
a process that needs one. Here stand-ins take their places beforehand; they know where the package lies and import a
module when somebody asks for it, so code that expects the full package (`ccxt.pro.kraken`, `ccxt.NetworkError`) still
finds what it looks for.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from collector.sources.deferred import import_deferring

EXCHANGES = ("binance", "binanceusdm")
"""Those whose frames are read without ccxt."""


class _OnDemand(ModuleType):
    """Stands in for a package of ccxt whose own `__init__` would import every exchange."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        self.__spec__ = spec
        self.__path__ = [str(folder)]

    def __setattr__(self, name: str, value: Any) -> None:
        # The import system binds a submodule to its package; in ccxt the exchange's class goes by that name.
        if isinstance(value, ModuleType) and isinstance(vars(value).get(name), type):
            value = vars(value)[name]
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if self.__name__ == "ccxt":
            errors = importlib.import_module("ccxt.base.errors")
            if hasattr(errors, name):
                return getattr(errors, name)
        if name == "Exchange":
            home = "ccxt.base.exchange" if self.__name__ == "ccxt" else "ccxt.async_support.base.exchange"
            return importlib.import_module(home).Exchange
        try:
            importlib.import_module(f"{self.__name__}.{name}")
        except ModuleNotFoundError as missing:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from missing
        return vars(self)[name]


def install() -> None:
    """Puts the stand-ins in place, and imports what all exchanges are based on, without what only signing needs.

    Does nothing once any part of ccxt is imported, so it may be called at will.

    Raises:
        ModuleNotFoundError: ccxt is not installed.
    """
    if "ccxt" in sys.modules:
        return
    folder = _folder()
    root = _OnDemand("ccxt", folder)
    root.__version__ = importlib.metadata.version("ccxt")
    sys.modules["ccxt"] = root
    for package in ("async_support", "pro"):
        module = _OnDemand(f"ccxt.{package}", folder / package)
        sys.modules[module.__name__] = module
        setattr(root, package, module)
    import_deferring("ccxt.base.exchange")


def _folder() -> Path:
    found = importlib.util.find_spec("ccxt")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("ccxt is not installed: run `pip install ccxt`", name="ccxt")
    return Path(next(iter(found.submodule_search_locations)))


def available() -> frozenset[str]:
    """The exchanges that this ccxt.pro has; imports none of it.

    Raises:
        ModuleNotFoundError: ccxt is not installed.
    """
    return frozenset(path.stem for path in (_folder() / "pro").glob("[a-z]*.py"))


def load(exchange: str) -> type[Any]:
    """The ccxt.pro class of one exchange.

    Raises:
        ValueError: ccxt.pro has no such exchange.
    """
    if exchange not in EXCHANGES and exchange not in available():
        raise ValueError(f"--exchange {exchange!r} is not supported: use one that ccxt.pro has, such as binanceusdm")
    install()
    # ccxt.pro.binanceusdm takes its REST twin as an attribute of the package, which this import binds.
    importlib.import_module(f"ccxt.async_support.{exchange}")
    module = importlib.import_module(f"ccxt.pro.{exchange}")
    loaded: type[Any] = getattr(module, exchange)
    return loaded
