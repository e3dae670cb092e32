"""The remote client against a real sshd on loopback, with keys of its own."""

from __future__ import annotations

import gc
import os
import pwd
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import asyncssh
import pytest

from collector.client import BinanceCollectorClient, StorageEngine, get_hot_client
from storage_backends.open import open_backend
from storage_backends.reading import read
from tests.audit.sample import MARKET, Sample
from tests.core.exchange import SECOND, START_NS
from tests.serve.conftest import sample

__all__ = ["sample"]

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin")


class Server(NamedTuple):
    port: int
    folder: Path

    def client(self, data_path: Path, **changed: Any) -> BinanceCollectorClient:
        options: dict[str, Any] = {
            "remote_host": "127.0.0.1",
            "remote_user": pwd.getpwuid(os.getuid()).pw_name,
            "remote_port": self.port,
            "ssh_key_path": self.folder / "key",
            "known_hosts": self.folder / "known_hosts",
            "remote_data_path": str(data_path),
            **changed,
        }
        return BinanceCollectorClient(mode="remote", **options)


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if SSHD is None:
        reason = "no sshd: apt-get install openssh-server"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "key", "stranger"):
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(folder / name))
        asyncssh.read_private_key(str(folder / name)).write_public_key(str(folder / f"{name}.pub"))
        (folder / name).chmod(0o600)
    shutil.copy(folder / "key.pub", folder / "authorized")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "strangers").write_text(f"[127.0.0.1]:{port} {(folder / 'stranger.pub').read_text()}")
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        f"PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        f"Subsystem sftp internal-sftp\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd, run by root, locks itself up before a login
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 15
        while True:
            assert process.poll() is None, process.stderr and process.stderr.read()
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.05)
        yield Server(port, folder)
    finally:
        process.kill()
        process.wait(10)
        if process.stderr:
            process.stderr.close()


def test_files_come_once_and_whole(sshd: Server, sample: Sample, tmp_path: Path) -> None:
    client = sshd.client(sample.folder)
    for table in sample.store.tables(MARKET):
        count = client.sync_incremental(table, "BTC/USDT", tmp_path)
        there = sorted(path.relative_to(sample.folder) for path in (sample.folder / table).rglob("part-*"))
        here = sorted(path.relative_to(tmp_path) for path in (tmp_path / table).rglob("*") if path.is_file())
        assert here == there
        assert count == len(there) > 0
        assert read(open_backend("local", tmp_path), table, MARKET).equals(read(sample.store, table, MARKET))
        assert client.sync_incremental(table, "BTC/USDT", tmp_path) == 0


def test_what_broke_off_goes_on_and_what_is_damaged_is_not_kept(sshd: Server, sample: Sample, tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    shutil.copytree(sample.folder / "trades", there / "trades")
    part = next((there / "trades").rglob("part-*"))
    target = here / part.relative_to(there)
    target.parent.mkdir(parents=True)
    unfinished = target.with_name(f".{target.name}.fetched")
    unfinished.write_bytes(part.read_bytes()[:1000])
    client = sshd.client(there)
    assert client.sync_incremental("trades", "BTCUSDT", here) >= 1
    assert target.read_bytes() == part.read_bytes()
    assert not unfinished.exists()

    # The start that an earlier try left is not of this file: found, thrown away, and well the next time.
    target.unlink()
    unfinished.write_bytes(bytes(1000))
    with pytest.raises(ValueError, match="damaged"):
        client.sync_incremental("trades", "BTCUSDT", here)
    assert not target.exists()
    assert client.sync_incremental("trades", "BTCUSDT", here) == 1

    spoilt = bytearray(part.read_bytes())
    spoilt[len(spoilt) // 2] ^= 1
    part.write_bytes(spoilt)
    target.unlink()
    with pytest.raises(ValueError, match="damaged"):
        client.sync_incremental("trades", "BTCUSDT", here)
    assert not target.exists()


def test_a_hot_file_comes_over(sshd: Server, sample: Sample, tmp_path: Path) -> None:
    there = tmp_path / "there"
    shutil.copytree(sample.folder, there)
    engine = StorageEngine(there)
    engine.maintain_hot_snapshot("trades", MARKET)
    engine.maintain_hot_snapshot("depth", MARKET)
    client = sshd.client(there)
    here = tmp_path / "here"
    for table in ("trades", "depth"):
        assert client.sync_hot_snapshot(table, "BTCUSDT", here) == 1
    assert get_hot_client(here).read_hot("trades", "BTCUSDT").equals(engine.read_hot("trades", MARKET))


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.get_trades("BTC/USDT", limit=20, output="arrow"),
        lambda client: client.get_depth("BTCUSDT", limit=5, output="arrow"),
        lambda client: client.get_ohlcv("BTCUSDT", "5s", output="arrow"),
        lambda client: client.get_book("BTCUSDT", START_NS + 11 * SECOND, depth=4),
    ],
)
def test_the_same_rows_as_from_the_folder(
    sshd: Server, sample: Sample, tmp_path: Path, ask: Callable[[BinanceCollectorClient], Any]
) -> None:
    local = BinanceCollectorClient(mode="local", data_path=sample.folder)
    assert ask(sshd.client(sample.folder, cache_path=tmp_path)) == ask(local)


def test_statistics(sshd: Server, sample: Sample, tmp_path: Path) -> None:
    local = BinanceCollectorClient(mode="local", data_path=sample.folder)
    assert sshd.client(sample.folder, cache_path=tmp_path).get_stats("BTCUSDT") == local.get_stats("BTCUSDT")


def test_a_host_or_a_key_that_is_not_known(sshd: Server, sample: Sample, tmp_path: Path) -> None:
    with pytest.raises(PermissionError, match="known hosts"):
        sshd.client(sample.folder, known_hosts=sshd.folder / "strangers").sync_incremental("depth", "BTCUSDT", tmp_path)
    with pytest.raises(PermissionError, match="ssh_key_path"):
        sshd.client(sample.folder, ssh_key_path=sshd.folder / "stranger").sync_incremental("depth", "BTCUSDT", tmp_path)
    with pytest.raises(ConnectionError):
        sshd.client(sample.folder, remote_port=9).sync_incremental("depth", "BTCUSDT", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_one_connection_serves_all_questions_and_is_made_anew_when_it_broke(
    sshd: Server, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    connect = asyncssh.connect

    async def counted(*args: Any, **options: Any) -> Any:
        made.append(await connect(*args, **options))
        return made[-1]

    monkeypatch.setattr(asyncssh, "connect", counted)
    before = sftp_threads()
    with sshd.client(sample.folder, cache_path=tmp_path) as client:
        client.get_book("BTCUSDT", START_NS + 11 * SECOND)  # four tables
        client.get_trades("BTCUSDT")
        assert len(made) == 1
        made[0]._loop.call_soon_threadsafe(made[0].abort)
        assert client.sync_incremental("trades", "BTCUSDT", tmp_path / "again") > 0
        assert len(made) == 2
    assert all(one.is_closed() for one in made)
    assert sftp_threads() <= before
    with pytest.raises(ValueError, match="was closed"):
        client.get_trades("BTCUSDT")


def test_a_client_that_is_forgotten_leaves_nothing_open(sshd: Server, sample: Sample, tmp_path: Path) -> None:
    before = sftp_threads()
    client = sshd.client(sample.folder, cache_path=tmp_path)
    client.get_trades("BTCUSDT")
    assert sftp_threads() > before
    del client
    gc.collect()
    assert sftp_threads() <= before


def sftp_threads() -> set[threading.Thread]:
    gc.collect()
    return {thread for thread in threading.enumerate() if thread.name == "sftp"}


def test_what_cannot_be_asked(sshd: Server, sample: Sample, tmp_path: Path) -> None:
    client = sshd.client(sample.folder, cache_path=tmp_path)
    with pytest.raises(ValueError, match="no such table"):
        client.sync_incremental("../etc", "BTCUSDT", tmp_path)
    with pytest.raises(ValueError, match="symbol"):
        client.sync_incremental("trades", "../../x", tmp_path)
    with pytest.raises(ValueError, match="no such market"):
        client.get_trades("NOPEUSDT")
    with pytest.raises(ValueError, match="name a symbol"):
        client.get_stats()
    with pytest.raises(ValueError, match="only mode 'remote'"):
        BinanceCollectorClient(mode="local", data_path=sample.folder).sync_incremental("trades", "BTCUSDT", tmp_path)
    with pytest.raises(ValueError, match="choose local, api or remote"):
        BinanceCollectorClient(mode="cloud")  # type: ignore[arg-type]
