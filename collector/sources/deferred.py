"""Libraries that ccxt imports at its start and public data never needs, imported only when somebody does need them.

ccxt imports `cryptography` to sign requests and `requests` for its synchronous exchanges: 13 MB for a process that does
neither. While ccxt's base is imported, stand-ins take the places of both, so that what it takes out of them is found
later: the first use imports the library, and from then on ccxt's base has its objects. Everybody else imports the
libraries as ever.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def _user_agent(name: str = "python-requests") -> str:
    """As `requests` has it, without `requests`: every exchange of ccxt asks for it."""
    return f"{name}/{importlib.metadata.version('requests')}"


LIBRARIES = ("cryptography", "requests")
_KNOWN = {"requests.utils.default_user_agent": _user_agent}


def import_deferring(name: str, libraries: Sequence[str] = LIBRARIES) -> ModuleType:
    """Imports the module `name`, and of `libraries` those that it or what it imports asks for only when they are used.

    A library that is imported already is used as it is. To be called before other threads import any of them.
    """
    finder = _Finder(frozenset(libraries).difference(sys.modules))
    sys.meta_path.insert(0, finder)
    try:
        module = importlib.import_module(name)
    finally:
        sys.meta_path.remove(finder)
        for stand_in in finder.made:
            del sys.modules[stand_in]
    for each in [each for each in sys.modules.values() if isinstance(each, ModuleType)]:
        for held, value in list(vars(each).items()):
            if type(value) is _Later:
                value.holders.append((each, held))
    finder.importing = False
    return module


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives stand-ins for some libraries and all that is in them."""

    def __init__(self, libraries: frozenset[str]) -> None:
        self.importing = True
        self.made: list[str] = []
        self.found: list[_Later] = []
        self._libraries = libraries

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in self._libraries:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        self.made.append(spec.name)
        return _StandIn(spec.name, self)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing in it."""


class _StandIn(ModuleType):
    def __init__(self, name: str, finder: _Finder) -> None:
        super().__init__(name)
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        known = _KNOWN.get(f"{self.__name__}.{name}")
        if known is not None:
            return known
        found = _Later(self._finder, self.__name__, (name,))
        self._finder.found.append(found)
        return found


class _Later:
    """Something of a library, perhaps a module in it. Once the import is over, any use finds the real thing.

    It can be called, asked for its attributes, and asked whether something is an instance. It cannot be caught: but
    ccxt catches what `requests` raises, and by then has used it, so that its base holds the real exceptions.
    """

    def __init__(self, finder: _Finder, home: str, path: tuple[str, ...]) -> None:
        self._finder = finder
        self.home = home
        self._path = path
        self.holders: list[tuple[ModuleType, str]] = []

    def __getattr__(self, name: str) -> Any:
        if self._finder.importing:
            return _Later(self._finder, self.home, (*self._path, name))
        return getattr(self._real(), name)

    def __call__(self, *values: Any, **named: Any) -> Any:
        return self._real()(*values, **named)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._real())

    def _real(self) -> Any:
        """The real thing, once all that was taken out of its library is real where it lies."""
        for later in self._finder.found:
            if later.home.partition(".")[0] == self.home.partition(".")[0]:
                for holder, held in later.holders:
                    setattr(holder, held, later.resolved())
                later.holders.clear()
        return self.resolved()

    def resolved(self) -> Any:
        """The real thing."""
        found: Any = importlib.import_module(self.home)
        for name in self._path:
            if isinstance(found, ModuleType) and not hasattr(found, name):
                importlib.import_module(f"{found.__name__}.{name}")
            found = getattr(found, name)
        return found
