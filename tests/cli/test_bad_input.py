"""Wrong usage: one clear line that names the setting, exit code 2, and nothing touched."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from collector.errors import ConfigurationError
from tests.cli.call import Call


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["run", "--symbol", "BTC-USDT"], ["--symbol", "BTC-USDT", "BTC/USDT"]),
        (["run", "--symbol", ""], ["--symbol"]),
        (["run", "--interval", "0"], ["--interval", "0"]),
        (["run", "--interval", "1.5"], ["--interval", "1.5"]),
        (["run", "--step", "0"], ["--step"]),
        (["run", "--step", "nan"], ["--step", "nan"]),
        (["run", "--step", "fast"], ["--step", "fast"]),
        (["run", "--steps", "-1"], ["--steps", "-1"]),
        (["run", "--url-root", "not a url"], ["--url-root", "not a url"]),
        (["run", "--url-root", "ftp://127.0.0.1"], ["--url-root", "ftp://127.0.0.1"]),
        (["run", "--futures-ws", "127.0.0.1:1"], ["FUTURES_WS", "127.0.0.1:1"]),
        (["run", "--exchange", "binnance"], ["--exchange", "binnance", "binance"]),
        (["run", "--streams", "depht"], ["--streams", "depht", "depth"]),
        (["run", "--streams", ","], ["--streams"]),
        (["run", "--backend", "s3"], ["--backend", "s3"]),
        (["run", "--backend", "floppy"], ["--backend", "floppy", "local"]),
        (["run", "--depth-speed", "5ms"], ["--depth-speed", "5ms"]),
        (["run", "--exchange", "binance", "--depth-speed", "250ms"], ["depth-speed", "250"]),
        (["run", "--bars", "7x"], ["--bars", "7x", "15s"]),
        (["run", "--bars", "1m", "--no-agg-trade"], ["--bars", "1m", "--trade"]),
        (["run", "--book-grid", "100ms", "--no-depth-update"], ["--book-grid", "100ms", "depth"]),
        (["run", "--tick-sizes", "10,ten"], ["--tick-sizes", "ten", "auto"]),
        (["run", "--tick-sizes", "-5"], ["--tick-sizes", "-5"]),
        (["run", "--tick-sizes", "BTC=10"], ["--tick-sizes", "BTC", "did you mean BTC/USDT?"]),
        (["run", "--tick-sizes", "ETH/USDT=10;default=auto"], ["--tick-sizes", "ETHUSDT", "--symbol has BTC/USDT"]),
        (["run", "--kline", "7m"], ["--kline", "7m", "15m"]),
        (["run", "--exchange", "binance", "--mark-price"], ["markPrice", "binance"]),
        (["run", "--top-n", "7"], ["--top-n", "7", "20"]),
        (["run", "--order-book-limit", "6000"], ["--order-book-limit", "6000"]),
        (["run", "--anchor-limit", "7", "--exchange", "binanceusdm"], ["anchor", "7"]),
        (["run", "--duration", "-3"], ["--duration", "-3"]),
        (["run", "--duration", "nan"], ["--duration", "nan"]),
        (["run", "--sybmol", "X"], ["--sybmol", "--symbol"]),
        (["run", "--config", "missing.yaml"], ["--config", "missing.yaml"]),
        (["run", "--sink-format", "csv"], ["--sink-format", "csv", "jsonl"]),
        (["run", "--max-batch-size", "0"], ["--max-batch-size", "0"]),
        (["run", "--retain-days", "0"], ["--retain-days", "0"]),
        (["run", "--disk-budget", "5 parsecs"], ["--disk-budget", "5 parsecs", "20GiB"]),
        (["run", "--raw-max-bytes", "1kB"], ["--raw-max-bytes", "1kB", "16,777,216"]),
        (["compact", "--data-dir", "missing"], ["--data-dir", "missing"]),
        (["compact", "--before", "tomorrow"], ["--before", "tomorrow", "yesterday"]),
        (["runn"], ["runn", "run"]),
        (["train"], ["train", "./run.sh training"]),
        (["run", "--symbol", "BTC/USDT,ETH/USDT"], ["BTC/USDT,ETH/USDT", "--symbol of its own"]),
        (["run", "--exchange", "Binance"], ["--exchange", "Binance", "did you mean binance?"]),
        (["run", "--exchange", "binance-futures"], ["binance-futures", "did you mean binanceusdm?"]),
        (["run", "--streams", "depth,trades"], ["--streams", "trades", "aggTrade"]),
        (["run", "--streams", "aggtrade"], ["--streams", "did you mean aggTrade?"]),
        (["run", "--tick-sizes", "abc"], ["--tick-sizes", "'abc' is no number"]),
        (["run", "--interval", "fast"], ["--interval", "is not a valid integer."]),
        (["run", "--journal-max-bytes", "4XB"], ["--journal-max-bytes", "20GiB"]),
        (["run", "--check", "--anchor-limit", "7"], ["--anchor-limit", "7", "1000"]),
        (["run", "--check", "--order-book-snapshot", "--order-book-limit", "3"], ["--order-book-limit", "3", "1000"]),
        (["run", "--check", "--futures-ws", "http://x"], ["FUTURES_WS", "http://x", "wss://"]),
        (["run", "--dry-run", "--record", "--record-dir", "/proc/x"], ["--record-dir", "/proc/x"]),
        (["gaps", "--data-dir", __file__], ["--data-dir", "is a file"]),
        (["gaps", "--data-dir", "."], ["--data-dir", "holds no tables yet", "300 s"]),
        (["stats", "--data-dir", "."], ["--data-dir", "holds no tables yet"]),
        (["gaps", "--stream", "deph"], ["--stream", "did you mean depth?"]),
        (["report", "--date", "2999-01-01"], ["--date", "2999-01-01"]),
        (["report", "--picture", "day.pdf"], ["--picture", "day.pdf", ".svg"]),
        (["report", "--picture", "nowhere/day.png"], ["--picture", "nowhere", "does not exist"]),
        (["features", "recompute", "--from", "2026-01-02", "--to", "2026-01-01"], ["--to", "2026-01-01 00:00"]),
        (["backfill", "trades", "--from", "2999-01-01"], ["--from", "2999-01-01 00:00"]),
        (["backfill", "trade", "--from", "2026-01-01"], ["KIND", "trade", "raw-trades"]),
        (["serve", "--data-dir", "missing"], ["--data-dir", "missing"]),
        (["tui", "--host", "http://127.0.0.1:8000"], ["--host", "--port"]),
        (["replay"], ["FILE"]),
        (["replay", "missing.gz"], ["missing.gz"]),
        (["replay", "."], ["."]),
        (["verify", "--data-dir", "missing"], ["--data-dir", "missing"]),
        (["verify", "--from", "2026-01-02", "--to", "2026-01-01"], ["--from", "--to"]),
        (["gaps", "--data-dir", "missing"], ["--data-dir", "missing"]),
        (["stats", "--data-dir", "missing"], ["--data-dir", "missing"]),
        (["book", "--data-dir", "missing", "--at", "2026-01-01"], ["--data-dir", "missing"]),
        (["book", "--at", "yesterday"], ["--at", "yesterday"]),
        (["simulate", "--symbols", "0"], ["--symbols", "0"]),
        (["simulate", "--fault", "earthquake"], ["earthquake"]),
        (["simulate", "--capture", "missing.gz"], ["missing.gz"]),
    ],
)
def test_bad_input_is_one_line_and_exit_2(call: Call, tmp_path: Path, arguments: list[str], names: list[str]) -> None:
    code, out, err = call(*arguments)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith("collector: ")
    for name in names:
        assert name in err, err
    assert not (tmp_path / "data").exists() or not any((tmp_path / "data").rglob("*.parquet"))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("symbol: BTC/USDT\nsymbol: ETH/USDT\n", ["key symbol", "twice"]),
        ("symbol: {a: b}\n", ["--symbol", "a list of them"]),
        ("symbol: 5\n", ["--symbol", "'5'", "BTC/USDT"]),
        ("storage:\n\tbase_path: x\n", ["is not YAML", "line 2"]),
    ],
)
def test_a_file_that_says_what_cannot_be_meant(call: Call, tmp_path: Path, text: str, names: list[str]) -> None:
    (tmp_path / "c.yaml").write_text(text)
    code, _, err = call("run", "--check", "--config", "c.yaml")
    assert code == 2
    assert err.count("\n") == 1
    for name in names:
        assert name in err, err


def test_output_that_finds_no_room_is_one_line_and_exit_3(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "collector", "features", "--json"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, cwd=tmp_path, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1, done.stderr
    assert "No space left" in done.stderr


def test_a_capture_of_something_else_is_named(call: Call, tmp_path: Path) -> None:
    (tmp_path / "btcusdt.gz").write_bytes(gzip.compress(b"ceci n'est pas une capture\n" * 10))
    code, _, err = call("replay", "btcusdt.gz")
    assert code == 2
    assert "btcusdt.gz" in err
    assert err.count("\n") == 1


def test_a_file_where_the_folder_should_be(call: Call, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")
    code, _, err = call("run", "--url-root", "http://127.0.0.1:9")
    assert code == 2
    assert "--data-dir" in err
    assert (tmp_path / "data").read_text() == "mine"


def test_nothing_listens_there(call: Call, tmp_path: Path) -> None:
    code, _, err = call("run", "--url-root", "http://127.0.0.1:9", "--dry-run", "--duration", "0.1")
    assert code == 2
    assert "--url-root" in err
    assert "http://127.0.0.1:9" in err
    assert err.count("\n") == 1, err


@pytest.mark.parametrize(
    ("file", "text", "named"),
    [
        ("c.yaml", "stpes: 3\n", ["stpes", "steps"]),
        ("c.yaml", "- step\n", ["c.yaml"]),
        ("c.yaml", "step: [\n", ["c.yaml"]),
        (".env", "COLLECTOR_STPES=3\n", ["COLLECTOR_STPES", "COLLECTOR_STEPS"]),
        (".env", "SYMBLO=BTCUSDT\n", ["SYMBLO", "SYMBOL"]),
    ],
)
def test_unknown_keys_are_errors_with_a_suggestion(
    call: Call, tmp_path: Path, file: str, text: str, named: list[str]
) -> None:
    (tmp_path / file).write_text(text)
    code, _, err = call("run", *(["--config", file] if file == "c.yaml" else []))
    assert code == 2
    assert err.count("\n") == 1
    for name in named:
        assert name in err


def test_a_file_cannot_name_another_file(call: Call, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("config: other.yaml\n")
    code, _, err = call("run", "--config", "c.yaml")
    assert code == 2
    assert "key config: is unknown" in err


def test_an_unknown_variable_of_ours_is_an_error(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLECTOR_DATADIR", "x")
    code, _, err = call("run")
    assert code == 2
    assert "COLLECTOR_DATADIR" in err
    assert "COLLECTOR_DATA_DIR" in err


def test_configuration_errors_name_setting_value_and_mend() -> None:
    assert str(ConfigurationError("--step", 3, "must be smaller")) == "--step 3: must be smaller"


def test_a_full_disk_at_start(call: Call, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small tmpfs, so the full disk was not tried: {mounted.stderr.strip()}")
    try:
        (disk / "mine").write_bytes(b"x" * 60_000)
        code, _, err = call("run", "--url-root", "http://127.0.0.1:9", "--data-dir", disk)
        assert code == 2
        assert "--data-dir" in err
        assert str(disk) in err
        assert err.count("\n") == 1, err
        assert (disk / "mine").read_bytes() == b"x" * 60_000
    finally:
        subprocess.run(["umount", disk], check=True)
