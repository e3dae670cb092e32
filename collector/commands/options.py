"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from collector.config import load_file, setting
from collector.core.channels import CHANNELS, is_channel
from collector.errors import ConfigurationError, MachineFailed
from collector.exchanges import exchange_named
from collector.markets import exchange_symbol
from collector.sizes import Size
from collector.sources.markets import is_wildcard
from storage_backends.interface import Backend, Market
from storage_backends.settings import StoreSettings

Command = TypeVar("Command", bound=Callable[..., Any])


STORE_SETTINGS = (
    setting("--backend", default="local", help="where rows go: local (files under --data-dir), s3 or bigtable"),
    setting("--data-dir", default="data", type=click.Path(path_type=Path), help="folder of journal and tables"),
    setting("--s3-bucket", default=None, help="bucket of --backend s3; credentials as boto3 finds them"),
    setting("--s3-prefix", default="", help="folder in that bucket  [default: its root]"),
    setting("--s3-region", default=None, help="region of that bucket  [default: as boto3 finds it]"),
    setting("--s3-endpoint-url", default=None, help="an S3-compatible store elsewhere, as http://127.0.0.1:9000"),
    setting("--bigtable-project-id", default=None, help="Google Cloud project of --backend bigtable"),
    setting("--bigtable-instance-id", default=None, help="Bigtable instance in that project"),
    setting("--bigtable-emulator-host", default=None, help="HOST:PORT of a Bigtable emulator, instead of the cloud"),
)
"""Each names a field of `StoreSettings`."""


def store_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--backend and what each backend needs to know; the command gets them as one `store: StoreSettings`."""

    @wraps(command)
    def with_store(*args: Any, **options: Any) -> Any:
        chosen = {name: options.pop(name) for name in list(options) if name in StoreSettings.__slots__}
        return command(*args, store=StoreSettings(**chosen), **options)

    for option in reversed(STORE_SETTINGS):
        option(with_store)
    return with_store


def market_options(command: Command) -> Command:
    """--exchange and --symbol as filters of a store, from flags alone: elsewhere they say what to collect."""
    command = click.option(
        "--symbol", multiple=True, help="BTC/USDT, BTC/USDT:USDT or BTCUSDT; repeatable  [default: all]"
    )(command)
    return click.option("--exchange", multiple=True, help="as stored: binanceusdm, …; repeatable  [default: all]")(
        command
    )


def features_option(command: Command, default: str | None = "basic") -> Command:
    """--features: what is computed of each epoch."""
    return setting(
        "--features",
        default=default,
        help="computed each epoch: basic, all, none, or names with commas; `collector features` lists them",
    )(command)


def model_option(command: Command) -> Command:
    """--model: what forecasts at each row."""
    return setting(
        "--model",
        default=None,
        type=click.Path(path_type=Path),
        help="model.npz of `python -m training train`; its forecasts become table `forecasts`",
    )(command)


def retention_options(command: Command) -> Command:
    """--retain-days and --disk-budget: what may be deleted."""
    command = setting(
        "--disk-budget",
        default=None,
        type=Size(1 << 20),
        help="size that the data folder may have, as in 20GB; then the oldest days are deleted  [default: no bound]",
    )(command)
    return setting(
        "--retain-days",
        default=None,
        type=click.IntRange(1),
        help="delete days that are older than this many  [default: keep all]",
    )(command)


def config_option(command: Command) -> Command:
    """--config FILE: a YAML file with the same options."""
    return setting(
        "--config",
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=_read_config,
        help="YAML file of options; flags and environment are stronger",
    )(command)


def _read_config(ctx: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    # One file may serve every command, so options that only others have are no mistakes.
    root = ctx.find_root().command
    others = []
    if isinstance(root, click.Group):
        others = [other for name in root.list_commands(ctx) if (other := root.get_command(ctx, name)) is not None]
    ctx.default_map = {**load_file(path, ctx.command, others), **(ctx.default_map or {})}


def check_wanted(exchanges: tuple[str, ...], symbols: tuple[str, ...], streams: str) -> tuple[str, ...]:
    """The channels in `streams`, once all three options can be right.

    Raises:
        ConfigurationError: one of them cannot, whatever the exchange says.
    """
    protocols = {exchange_named(exchange).protocol for exchange in exchanges}
    for symbol in symbols:
        if not is_wildcard(symbol) and protocols == {"binance"}:
            exchange_symbol(symbol)
    channels = tuple(name.strip() for name in streams.split(",") if name.strip())
    for name in channels:
        if not is_channel(name):
            raise ConfigurationError("--streams", name, f"is not collected; choose from {', '.join(CHANNELS)}")
    if not channels:
        raise ConfigurationError("--streams", repr(streams), f"names nothing; choose from {', '.join(CHANNELS)}")
    return channels


def open_store(store: StoreSettings, *, must_exist: bool = True) -> Backend:
    """The backend that the options name.

    Raises:
        ConfigurationError: unknown backend, or nothing stored there although something must be.
    """
    from storage_backends import open as opening

    if must_exist and store.backend == "local" and not store.data_dir.is_dir():
        raise ConfigurationError(
            "--data-dir", store.data_dir, "does not exist; name the folder that `collector run` wrote to"
        )
    try:
        return opening.open_store(store)
    except ValueError as error:
        raise ConfigurationError("--backend", store.backend, str(error)) from error


def select_markets(backend: Backend, exchanges: tuple[str, ...], symbols: tuple[str, ...]) -> list[Market]:
    """The markets of a store that the options ask for.

    Raises:
        ConfigurationError: one that was named is not there.
    """
    stored = backend.markets()
    known = {market.symbol for market in stored}
    wanted = [symbol if symbol in known else exchange_symbol(symbol) for symbol in symbols]
    for symbol in wanted:
        if not any(market.symbol == symbol for market in stored):
            have = ", ".join(f"{market.exchange} {market.symbol}" for market in stored) or "nothing"
            raise ConfigurationError("--symbol", symbol, f"is not in this store, which holds {have}")
    for exchange in exchanges:
        if not any(market.exchange == exchange for market in stored):
            have = ", ".join(sorted({market.exchange for market in stored})) or "nothing"
            raise ConfigurationError("--exchange", exchange, f"is not in this store, which holds {have}")
    return [
        market
        for market in stored
        if (not wanted or market.symbol in wanted) and (not exchanges or market.exchange in exchanges)
    ]


@contextmanager
def store_errors(store: StoreSettings) -> Iterator[None]:
    """Turns what a backend raises while it is read into one line for people."""
    from storage_backends.errors import BackendError, StorageFailed

    try:
        yield
    except StorageFailed as error:
        raise MachineFailed(str(error)) from error
    except BackendError as error:
        raise ConfigurationError(*store.place, f"cannot be read: {error}") from error
