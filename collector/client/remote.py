"""One client for every way to a store: a folder here, HTTP, or a folder elsewhere over SSH."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from collector.client.api import BinanceCollectorAPIClient
from collector.client.local import LocalClient
from collector.client.questions import Client, Instant, Wanted
from collector.errors import ConfigurationError
from collector.markets import exchange_symbol
from storage_backends.interface import legal
from storage_backends.schema import TABLES, known

if TYPE_CHECKING:
    import asyncssh
    import pyarrow as pa

    from collector.client.ssh import Sftp

Mode = Literal["local", "api", "remote"]

_BOOK = ("snapshots", "diffs", "gaps", "events")
_GAPS = ("gaps", "events", "diffs", "trades", "raw_trades")
"""What a gap is counted by; see `audit.healing`."""


class BinanceCollectorClient(Client):
    """See `Client`. `mode` says where the store is.

    - `local`: `data_path`, a data folder on this machine.
    - `api`: `base_url` and `api_key`, a `collector serve`.
    - `remote`: `remote_data_path` on `remote_host`, over SSH. What a question needs is copied first into `cache_path`
      (new files alone), and asked there, all over one connection. The host's key must be known; `known_hosts` names
      another file than OpenSSH's.

    Close it, or use it in a `with` statement.
    """

    def __init__(
        self,
        mode: Mode = "local",
        *,
        data_path: str | Path = "data",
        base_url: str = "http://127.0.0.1:8000",
        api_key: str | None = None,
        remote_host: str | None = None,
        remote_user: str | None = None,
        ssh_key_path: str | Path | None = None,
        remote_data_path: str = "data",
        remote_port: int = 22,
        known_hosts: str | Path | None = None,
        cache_path: str | Path | None = None,
    ) -> None:
        self._inner: LocalClient | BinanceCollectorAPIClient | None = None
        if mode == "local":
            self._inner = LocalClient.of_folder(data_path)
        elif mode == "api":
            self._inner = BinanceCollectorAPIClient(base_url, api_key)
        elif mode == "remote":
            from collector.client.ssh import Remote, Sftp

            if not remote_host:
                raise ValueError("mode 'remote' needs remote_host")
            place = f"{remote_user}@{remote_host}:{remote_port}:{remote_data_path}"
            self._sftp = Sftp(
                Remote(remote_host, remote_user, ssh_key_path, remote_data_path.rstrip("/"), remote_port, known_hosts)
            )
            # Two places must never share a folder, whatever their names look like.
            default = Path("~/.cache/depth-collector").expanduser() / hashlib.sha256(place.encode()).hexdigest()[:16]
            self._cache = default if cache_path is None else Path(cache_path).expanduser()
        else:
            raise ValueError(f"mode {mode!r}: choose local, api or remote")

    def __enter__(self) -> BinanceCollectorClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives connections back."""
        if self._inner is None:
            self._sftp.close()
        elif isinstance(self._inner, BinanceCollectorAPIClient):
            self._inner.close()

    def sync_hot_snapshot(self, table: str, symbol: str, local: str | Path, *, exchange: str | None = None) -> int:
        """Copies the newest rows, at most 1,024, into the data folder `local`; gives how many markets had some.

        A file is replaced from one moment to the next. `get_hot_client(local)` reads it.

        Raises:
            ValueError: mode is not `remote`, an unknown table, or damage on the way.
            PermissionError: see `ssh.Sftp.run`.
            ConnectionError: see `ssh.Sftp.run`.
        """
        from collector.client import ssh

        place = self._place()
        name, wanted = _known(table), _symbol(symbol)
        root = Path(local).expanduser() / "hot" / name

        async def work(sftp: asyncssh.SFTPClient) -> int:
            folder = f"{place.remote.data_path}/hot/{name}"
            count = 0
            for found in await ssh.exchanges_of(sftp, folder, f"symbol={wanted}.arrow"):
                if exchange in (None, found):
                    file = f"exchange={found}/symbol={wanted}.arrow"
                    # Unlike parts these files change, so the rest of an earlier try is worth nothing.
                    (root / f"exchange={found}" / f".symbol={wanted}.arrow.fetched").unlink(missing_ok=True)
                    count += await ssh.fetch(sftp, f"{folder}/{file}", root / file, ssh.verify_hot)
            return count

        return place.run(work)

    def sync_incremental(self, table: str, symbol: str, local: str | Path, *, exchange: str | None = None) -> int:
        """Copies the files that are not yet in the data folder `local`; gives how many came.

        Each is verified by its own checksums before it gets its name, so `local` is a sound store at any moment. What
        breaks off is gone on with by the next call. Days that were compacted there come once more as one file; the
        files that they replace stay, and no row shows twice.

        Raises:
            As `sync_hot_snapshot`.
        """
        from collector.client import ssh

        place = self._place()
        name, wanted = _known(table), _symbol(symbol)
        root = Path(local).expanduser() / name

        async def work(sftp: asyncssh.SFTPClient) -> int:
            folder = f"{place.remote.data_path}/{name}"
            count = 0
            for found in await ssh.exchanges_of(sftp, folder, f"symbol={wanted}"):
                if exchange not in (None, found):
                    continue
                market = f"exchange={found}/symbol={wanted}"
                for part, size in await ssh.parts_of(sftp, f"{folder}/{market}"):
                    target = root / market / part
                    if not target.exists() or target.stat().st_size != size:
                        verify = ssh.part_verifier(name, target.name)
                        count += await ssh.fetch(sftp, f"{folder}/{market}/{part}", target, verify)
            return count

        return place.run(work)

    def get_stats(self, symbol: str | None = None, *, exchange: str | None = None) -> list[dict[str, Any]]:
        """As in every mode; `remote` needs a symbol, and copies all of its tables."""
        if self._inner is None and symbol is None:
            raise ValueError("mode 'remote' copies what it counts: name a symbol")
        return self._ready(tuple(TABLES), symbol or "", exchange).get_stats(symbol, exchange=exchange)

    def get_book(self, symbol: str, at: Instant, *, depth: int = 100, exchange: str | None = None) -> dict[str, Any]:
        return self._ready(_BOOK, symbol, exchange).get_book(symbol, at, depth=depth, exchange=exchange)

    def _rows(self, table: str, symbol: str, wanted: Wanted) -> pa.Table:
        return self._ready((table,), symbol, wanted.exchange)._rows(table, symbol, wanted)  # noqa: SLF001

    def _gaps(self, symbol: str | None, wanted: Wanted, *, healed: bool) -> list[dict[str, Any]]:
        if self._inner is None and symbol is None:
            raise ValueError("mode 'remote' copies what it counts by: name a symbol")
        return self._ready(_GAPS, symbol or "", wanted.exchange)._gaps(symbol, wanted, healed=healed)  # noqa: SLF001

    def _orderbook(self, symbol: str, tick_size: float | None, wanted: Wanted) -> pa.Table:
        return self._ready(("multitick",), symbol, wanted.exchange)._orderbook(symbol, tick_size, wanted)  # noqa: SLF001

    def _ohlcv(self, symbol: str, timeframe: str, wanted: Wanted) -> pa.Table:
        inner = self._ready(("bars", "trades", "raw_trades"), symbol, wanted.exchange)
        return inner._ohlcv(symbol, timeframe, wanted)  # noqa: SLF001

    def _ready(self, tables: tuple[str, ...], symbol: str, exchange: str | None) -> Client:
        """The client that answers, after what it needs of a remote store has come."""
        if self._inner is not None:
            return self._inner
        for table in tables:
            self.sync_incremental(table, symbol, self._cache, exchange=exchange)
        self._cache.mkdir(parents=True, exist_ok=True)
        return LocalClient.of_folder(self._cache)

    def _place(self) -> Sftp:
        if self._inner is not None:
            raise ValueError("only mode 'remote' has something to copy")
        return self._sftp


def _known(table: str) -> str:
    from collector.questions.rows import table_of

    return known(table_of(table)).name


def _symbol(symbol: str) -> str:
    """The exchange's id of a symbol, which becomes part of a path here and there."""
    try:
        wanted = exchange_symbol(symbol)
    except ConfigurationError:
        wanted = symbol
    if not legal("symbol", wanted):
        raise ValueError(f"symbol {symbol!r}: not one that is stored")
    return wanted
