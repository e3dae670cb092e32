"""Options that several commands share."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from collector.config import load_file, setting
from collector.core.channels import CHANNELS, INTERVALS_MS, channel_of, is_channel
from collector.errors import ConfigurationError, MachineFailed
from collector.exchanges import exchange_named
from collector.interrupts import interrupt_kept
from collector.markets import WHEN_STORED, exchange_symbol, listed
from collector.sizes import Size
from collector.sources.markets import is_wildcard
from collector.ticks import Ticks, named_in
from storage_backends.interface import Backend, Market
from storage_backends.settings import StoreSettings

Command = TypeVar("Command", bound=Callable[..., Any])


STORE_SETTINGS = (
    setting("--backend", default="local", help="where rows go: local (files under --data-dir), s3 or bigtable"),
    setting("--data-dir", default="data", type=click.Path(path_type=Path), help="folder of journal and tables"),
    setting("--s3-bucket", default=None, help="bucket of --backend s3; credentials as boto3 finds them"),
    setting("--s3-prefix", default="", show_default="its root", help="folder in that bucket"),
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
        "-s", "--symbol", multiple=True, help="BTC/USDT, BTC/USDT:USDT or BTCUSDT; repeatable  [default: all]"
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
            raise _not_collected(name)
    if not channels:
        raise ConfigurationError("--streams", repr(streams), f"names nothing; choose from {', '.join(CHANNELS)}")
    return channels


def check_named(ticks: Ticks | None, exchanges: tuple[str, ...], symbols: tuple[str, ...]) -> None:
    """Refuses widths of a price level that the flag gives a market that will not be collected.

    One file or environment may serve several collectors, and with a wildcard, or on an exchange with names of its own,
    only the exchange can say which markets there will be: then a run says at its start what is left over. Markets of
    another shard are collected too.

    Raises:
        ConfigurationError: see above.
    """
    if click.get_current_context().get_parameter_source("tick_sizes") != ParameterSource.COMMANDLINE:
        return
    if any(map(is_wildcard, symbols)) or {exchange_named(exchange).protocol for exchange in exchanges} != {"binance"}:
        return
    collected = {exchange_symbol(symbol): symbol for symbol in symbols}
    for name in named_in(ticks):
        if name not in collected:
            raise ConfigurationError(
                "--tick-sizes",
                name,
                f"is not collected: --symbol has {', '.join(symbols)}{meant_market(name, collected)}",
            )


def meant_market(name: str, markets: Mapping[str, str]) -> str:
    """A question whether one of `markets` is meant, by the exchange's symbol and as it is to be shown; or nothing."""
    near = difflib.get_close_matches(name, markets, n=1) or [one for one in markets if one.startswith(name)]
    return f"; did you mean {markets[near[0]]}?" if near else ""


def _not_collected(channel: str) -> ConfigurationError:
    if channel.startswith("kline_"):
        mend = f"is no interval; choose from {', '.join(INTERVALS_MS)}, 1M"
        return ConfigurationError("--kline", channel.removeprefix("kline_"), mend)
    mend = f"is not collected; choose from {', '.join(CHANNELS)}{_meant(channel)}"
    return ConfigurationError("--streams", channel, mend)


def _meant(channel: str) -> str:
    """Tables have names of their own, and they are what somebody may write for the channel."""
    by_table = channel_of(channel)
    if by_table != channel:
        return f"; table {channel} holds {by_table}"
    near = difflib.get_close_matches(channel.lower(), {one.lower(): one for one in CHANNELS}, n=1)
    return next((f"; did you mean {one}?" for one in CHANNELS if near and one.lower() == near[0]), "")


def open_store(store: StoreSettings, *, must_exist: bool = True) -> Backend:
    """The backend that the options name.

    Raises:
        ConfigurationError: unknown backend, or nothing stored there although something must be.
    """
    from storage_backends import open as opening

    if must_exist and store.backend == "local" and not store.data_dir.is_dir():
        why = "is a file" if store.data_dir.exists() else "does not exist"
        raise ConfigurationError("--data-dir", store.data_dir, f"{why}; name the folder that `collector run` wrote to")
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
    if not stored and (symbols or exchanges):
        setting, name = ("--symbol", symbols[0]) if symbols else ("--exchange", exchanges[0])
        raise ConfigurationError(setting, name, f"is not in this store, which is empty: {WHEN_STORED}")
    known = {market.symbol for market in stored}
    wanted = [symbol if symbol in known else exchange_symbol(symbol) for symbol in symbols]
    for symbol in wanted:
        if not any(market.symbol == symbol for market in stored):
            raise ConfigurationError("--symbol", symbol, f"is not in this store, which holds {listed(stored)}")
    for exchange in exchanges:
        if not any(market.exchange == exchange for market in stored):
            have = ", ".join(sorted({market.exchange for market in stored}))
            raise ConfigurationError("--exchange", exchange, f"is not in this store, which holds {have}")
    for symbol in wanted if exchanges else ():
        if not any(market.symbol == symbol and market.exchange in exchanges for market in stored):
            where = ", ".join(exchanges)
            raise ConfigurationError("--symbol", symbol, f"is not stored of {where}; here are {listed(stored)}")
    return [
        market
        for market in stored
        if (not wanted or market.symbol in wanted) and (not exchanges or market.exchange in exchanges)
    ]


def check_folder(setting: str, path: Path) -> None:
    """Refuses, before the work, a file that could not be written after it.

    Raises:
        ConfigurationError: there is no such folder, or nobody may write to it.
    """
    folder = path.absolute().parent
    if not os.access(folder, os.W_OK):
        why = "cannot be written to" if folder.is_dir() else "does not exist"
        raise ConfigurationError(setting, path, f"its folder {folder} {why}")


def stored_markets(
    store: StoreSettings,
    backend: Backend,
    exchanges: tuple[str, ...],
    symbols: tuple[str, ...],
    *,
    may_be_empty: bool = False,
) -> list[Market]:
    """`select_markets` of a store that must hold something: nothing found in a wrong folder is no good news.

    A program (`may_be_empty`) gets its empty list.

    Raises:
        ConfigurationError: there is none, or one that was named is not there.
    """
    markets = select_markets(backend, exchanges, symbols)
    if not markets and not may_be_empty:
        raise ConfigurationError(
            *store.place,
            f"holds no tables yet: {WHEN_STORED} (see `collector journal`), or this is not where `collector run` "
            "wrote to",
        )
    return markets


def not_one_market(store: StoreSettings, markets: Sequence[Market]) -> ConfigurationError:
    """The error of a command that looks at one market and was left with none or several."""
    if not markets:
        return ConfigurationError(*store.place, f"holds no tables yet: {WHEN_STORED}")
    choice = f"choose one with --exchange and --symbol: {listed(markets)}"
    return ConfigurationError("--symbol", "is not one market", choice)


@contextmanager
def store_errors(store: StoreSettings) -> Iterator[None]:
    """Turns what a backend raises while it is read into one line for people; Ctrl-C stays Ctrl-C."""
    from storage_backends.errors import BackendError, StorageFailed

    try:
        with interrupt_kept():
            yield
    except StorageFailed as error:
        raise MachineFailed(str(error)) from error
    except BackendError as error:
        raise ConfigurationError(*store.place, f"cannot be read: {error}") from error
