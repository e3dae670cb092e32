"""Stores, read through `storage_backends`: the same options as the collector's, from the fields of `StoreSettings`."""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from storage_backends.errors import BackendError, StorageFailed
from storage_backends.interface import Market
from storage_backends.settings import StoreSettings
from training.errors import MachineFailed, TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from storage_backends.interface import Backend

_SHORT: Final = {"backend": "DB_BACKEND"}
_HELP: Final = {
    "backend": "where rows are: local, s3 or bigtable",
    "data_dir": "folder of the tables of --backend local",
}
_HIDDEN: Final = {"file_format"}  # of files that are written, and nothing is written here


def store_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """An option for each setting of a store; the command gets them as one `store: StoreSettings`."""
    fields = [field for field in dataclasses.fields(StoreSettings) if field.name not in _HIDDEN]

    @wraps(command)
    def with_store(*args: Any, **options: Any) -> Any:
        chosen = {field.name: options.pop(field.name) for field in fields}
        return command(*args, store=StoreSettings(**chosen), **options)

    for field in reversed(fields):
        variables = [f"COLLECTOR_{field.name.upper()}", *([_SHORT[field.name]] if field.name in _SHORT else [])]
        with_store = click.option(
            f"--{field.name.replace('_', '-')}",
            default=field.default,
            envvar=variables,
            show_default=field.default is not None,
            type=_type_of(field.default),
            help=_HELP.get(field.name, f"of the backend; as for `collector`, {variables[0]}"),
        )(with_store)
    return with_store


def _type_of(default: object) -> Any:
    if isinstance(default, Path):
        return click.Path(path_type=Path)
    return type(default) if isinstance(default, bool | int | float) else str


@contextmanager
def opened(store: StoreSettings) -> Iterator[Backend]:
    """The store, for the time of the block; its errors as one line for people.

    Raises:
        TrainingError: no such store, or it cannot be read.
        MachineFailed: the device failed.
    """
    from storage_backends.open import open_store

    if store.backend == "local" and not store.data_dir.expanduser().is_dir():
        raise TrainingError(f"--data-dir {store.data_dir}: does not exist; name the folder that the collector wrote to")
    try:
        backend = open_store(store)
    except ValueError as error:
        raise TrainingError(f"--backend {store.backend}: {error}") from error
    try:
        yield backend
    except StorageFailed as error:
        raise MachineFailed(str(error)) from error
    except BackendError as error:
        place, value = store.place
        raise TrainingError(f"{place} {value}: cannot be read: {error}") from error
    finally:
        backend.close()


def market_in(backend: Backend, table: str, exchange: str | None, symbol: str | None) -> Market:
    """The one market that the options mean among those with rows in `table`.

    `symbol` may be written as the exchange does, or as BTC/USDT or BTC/USDT:USDT.

    Raises:
        TrainingError: none, or several.
    """
    stored = backend.markets(table)
    wanted = None if symbol is None else symbol.partition(":")[0].replace("/", "").upper()
    found = [
        market
        for market in stored
        if (exchange is None or market.exchange == exchange)
        and (symbol is None or market.symbol == symbol or market.symbol.upper() == wanted)
    ]
    if len(found) == 1:
        return found[0]
    have = ", ".join(f"{market.exchange} {market.symbol}" for market in stored) or "nothing"
    asked = " ".join(part for part in (exchange, symbol) if part)
    problem = (
        f"--symbol {asked}: is not in table {table}" if asked and not found else f"--symbol: choose one for {table}"
    )
    raise TrainingError(f"{problem}, which holds {have}; give --exchange and --symbol")
