"""Files of a collector's data folder over SSH, into a folder here: whole and verified, or not at all."""

from __future__ import annotations

import asyncio
import os
import re
import threading
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import pyarrow as pa

from storage_backends.errors import BackendError
from storage_backends.formats import part_of
from storage_backends.interface import legal
from storage_backends.layout import COMPACTED, TimeRange, parse_part
from storage_backends.schema import known

if TYPE_CHECKING:
    import asyncssh

Answer = TypeVar("Answer")

_DATE = re.compile(r"date=\d{4}-\d{2}-\d{2}")
_CHUNK_BYTES = 1 << 20
_CONNECT_S = 20.0
_CLOSE_S = 5.0


class Remote(NamedTuple):
    """Where a data folder lies. None of `key` and `known_hosts` stands for what OpenSSH itself would use."""

    host: str
    user: str | None
    key: str | Path | None
    data_path: str
    port: int
    known_hosts: str | Path | None


class Sftp:
    """Files of one host over one connection: made at the first use, kept, and made anew when it broke.

    For any one thread at a time. It has a thread with a loop of its own, so that notebooks may ask too. Close it; what
    is forgotten ends with the object, or with the program.
    """

    def __init__(self, remote: Remote) -> None:
        self.remote = remote
        kept = self._kept = _Kept(remote)
        self._end = weakref.finalize(self, kept.close)

    def run(self, work: Callable[[asyncssh.SFTPClient], Awaitable[Answer]]) -> Answer:
        """What `work` returns. It may be called twice, if the connection was found broken.

        Raises:
            PermissionError: the host's key is not the one that is known, or it does not let us in.
            ConnectionError: it cannot be reached, or the connection broke.
            ValueError: closed.
        """
        if not self._end.alive:
            raise ValueError("this client was closed")
        return self._kept.run(work)

    def close(self) -> None:
        """Ends the connection; once is enough."""
        self._end()


class _Kept:
    """The connection and its thread. Nothing here knows of `Sftp`, whose end is the end of it all."""

    def __init__(self, remote: Remote) -> None:
        self._host = remote.host
        options: dict[str, Any] = {"port": remote.port, "connect_timeout": _CONNECT_S, "keepalive_interval": 15}
        if remote.user is not None:
            options["username"] = remote.user
        if remote.key is not None:
            options["client_keys"] = [str(Path(remote.key).expanduser())]
        if remote.known_hosts is not None:
            options["known_hosts"] = str(Path(remote.known_hosts).expanduser())
        self._options = options
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._connection: asyncssh.SSHClientConnection | None = None
        self._sftp: asyncssh.SFTPClient | None = None

    def run(self, work: Callable[[asyncssh.SFTPClient], Awaitable[Answer]]) -> Answer:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="sftp", daemon=True)
            self._thread.start()
        return asyncio.run_coroutine_threadsafe(self._told(work), self._loop).result()

    def close(self) -> None:
        loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._drop(), loop).result(_CLOSE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_CLOSE_S)
        if not thread.is_alive():
            loop.close()

    async def _told(self, work: Callable[[asyncssh.SFTPClient], Awaitable[Answer]]) -> Answer:
        """As `_worked`, with errors as `Sftp` promises them."""
        import asyncssh

        host = self._host
        try:
            return await self._worked(work)
        except asyncssh.HostKeyNotVerifiable as error:
            raise PermissionError(
                f"{host}: its key is not among the known hosts ({error}); compare it, then add it (ssh-keyscan)"
            ) from error
        except (asyncssh.PermissionDenied, asyncssh.KeyImportError, asyncssh.SFTPPermissionDenied) as error:
            raise PermissionError(f"{host}: {error}; look at remote_user and ssh_key_path") from error
        except (asyncssh.Error, TimeoutError, ConnectionError) as error:
            await self._drop()
            raise ConnectionError(f"{host}: {error or 'no answer'}") from error
        except OSError as error:
            if error.filename:  # a disk of ours keeps its own error; what has no file name came from the network
                raise
            await self._drop()
            raise ConnectionError(f"{host}: {error}") from error

    async def _worked(self, work: Callable[[asyncssh.SFTPClient], Awaitable[Answer]]) -> Answer:
        import asyncssh

        kept = self._sftp is not None
        try:
            return await work(await self._opened())
        except (asyncssh.ConnectionLost, asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, ConnectionError):
            if not kept:
                raise
        # It broke since the last question, which is no fault of this one.
        await self._drop()
        return await work(await self._opened())

    async def _opened(self) -> asyncssh.SFTPClient:
        import asyncssh

        if self._connection is not None and self._connection.is_closed():
            await self._drop()
        if self._sftp is None:
            self._connection = await asyncssh.connect(self._host, **self._options)
            self._sftp = await self._connection.start_sftp_client()
        return self._sftp

    async def _drop(self) -> None:
        connection, self._connection, self._sftp = self._connection, None, None
        if connection is not None:
            connection.close()
            with suppress(TimeoutError, OSError):
                async with asyncio.timeout(_CLOSE_S):
                    await connection.wait_closed()


async def exchanges_of(sftp: asyncssh.SFTPClient, folder: str, ending: str) -> list[str]:
    """The exchanges of `folder` that have an entry `ending`, such as `symbol=BTCUSDT`."""
    found = []
    for name in await names(sftp, folder):
        exchange = name.removeprefix("exchange=")
        if exchange != name and legal("exchange", exchange) and await sftp.exists(f"{folder}/{name}/{ending}"):
            found.append(exchange)
    return found


async def parts_of(sftp: asyncssh.SFTPClient, folder: str) -> list[tuple[str, int]]:
    """Files of one market and table, relative to `folder`, with their sizes. Names of any other form are left alone."""
    found = []
    for date in filter(_DATE.fullmatch, await names(sftp, folder)):
        for entry in await sftp.readdir(f"{folder}/{date}"):
            name = str(entry.filename)
            if parse_part(name) is not None and entry.attrs.size is not None:
                found.append((f"{date}/{name}", entry.attrs.size))
    return sorted(found)


async def names(sftp: asyncssh.SFTPClient, folder: str) -> list[str]:
    """What lies in a folder; nothing if there is none."""
    import asyncssh

    try:
        return sorted(str(name) for name in await sftp.listdir(folder))
    except asyncssh.SFTPNoSuchFile:
        return []


async def fetch(sftp: asyncssh.SFTPClient, source: str, target: Path, verify: Callable[[Path], None]) -> bool:
    """Copies a file that will not change; False if it is gone. What an earlier try left is gone on with.

    Raises:
        ValueError: what arrived is not what was sent; nothing of it is kept.
        OSError: this disk refused.
    """
    import asyncssh

    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.fetched")
    try:
        async with sftp.open(source, "rb") as stream:
            size = (await stream.stat()).size or 0
            have = unfinished.stat().st_size if unfinished.exists() else 0
            with unfinished.open("ab" if have <= size else "wb") as sink:
                at = sink.tell()
                while chunk := await stream.read(_CHUNK_BYTES, at):
                    sink.write(cast("bytes", chunk))
                    at += len(chunk)
                sink.flush()
                os.fsync(sink.fileno())
    except asyncssh.SFTPNoSuchFile:
        return False
    try:
        if at != size:
            raise ValueError(f"{source}: {at} of {size} bytes arrived")
        verify(unfinished)
    except (ValueError, BackendError, pa.ArrowException) as error:
        unfinished.unlink()
        raise ValueError(f"{source}: damaged, here or there: {error}") from error
    unfinished.replace(target)
    return True


def part_verifier(table: str, name: str) -> Callable[[Path], None]:
    """Reads every page of a part by its own checksums, and compares the write that it names with its name."""

    def verify(path: Path) -> None:
        definition = known(table)
        said = parse_part(name)
        assert said is not None
        with pa.OSFile(str(path)) as source:
            part = part_of(source, name, definition)
            for _ in part.chunks(definition.schema.names, TimeRange(None, None)):
                pass
            if said.writer != COMPACTED and part.content_hash[:8] != said.hash8:
                raise ValueError(f"holds the write {part.content_hash[:8]}, its name says {said.hash8}")

    return verify


def verify_hot(path: Path) -> None:
    """Reads an Arrow file to its end."""
    with pa.OSFile(str(path)) as source:
        pa.ipc.open_file(source).read_all().validate(full=True)
