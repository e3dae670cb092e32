"""Wrong usage: one clear line that names the setting, exit code 2, and nothing touched."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import click
import pytest

from collector.cli import COMMANDS, main, options
from collector.cli import collector as collector_commands
from collector.config import check_environment, load_environment_file, variables
from collector.errors import ConfigurationError
from collector.settings import RunSettings

ROOT = Path(__file__).parents[1]
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    """What `.env` brought in is gone after the test."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Runs a command in an empty folder: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("COLLECTOR_") or name in {
            "SYMBOL",
            "DB_BACKEND",
            "LOG_LEVEL",
            "FUTURES_WS",
            "SPOT_WS",
            "DEPTH_SPEED",
        }:
            monkeypatch.delenv(name)

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return stop.value.code, captured.out, captured.err

    with mock.patch.dict(os.environ):  # what a command takes from `.env` stays in this test
        yield run


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> list[RunSettings]:
    """The settings that `run` arrives at, which then does nothing."""
    seen: list[RunSettings] = []

    class Nothing:
        def __init__(self, chosen: RunSettings, *_: object) -> None:
            seen.append(chosen)

        async def run(self) -> None:
            pass

    monkeypatch.setattr("collector.pipeline.Pipeline", Nothing)
    return seen


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


def test_a_file_knows_options_by_their_flags_too(call: Call, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("record: true\nno-storage: true\n")
    code, out, err = call("run", "--check", "--config", "c.yaml")
    assert (code, out) == (0, "the settings are good\n"), err


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


def test_flags_beat_the_environment_which_beats_env_file_which_beats_yaml(
    call: Call, settings: list[RunSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.yaml").write_text(
        "step: 0.001\nsteps: 11\ninterval: 11\nsymbol: [ETHUSDT, BTCUSDT]\ndepth-speed: 500ms\n"
    )
    (tmp_path / ".env").write_text("COLLECTOR_STEPS=22\nCOLLECTOR_INTERVAL=22\nDEPTH_SPEED=250ms\nAWS_PROFILE=other\n")
    monkeypatch.setenv("COLLECTOR_INTERVAL", "33")
    monkeypatch.setenv("DB_BACKEND", "none")
    code, _, err = call("run", "--config", "c.yaml", "--ref", "mid")
    assert code == 0, err
    (chosen,) = settings
    assert (chosen.step, chosen.steps, chosen.interval_s) == (0.001, 22, 33)
    assert chosen.symbols == ("ETHUSDT", "BTCUSDT")
    assert chosen.feed.depth_speed_ms == 250
    assert chosen.reference == "mid"
    assert chosen.dry_run


def test_names_that_users_know(call: Call, settings: list[RunSettings], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SYMBOL": "ETH/USDT, BTC/USDT",
        "DB_BACKEND": "local",
        "LOG_LEVEL": "debug",
        "FUTURES_WS": "ws://127.0.0.1:1",
        "SPOT_WS": "ws://127.0.0.1:2",
        "DEPTH_SPEED": "none",
    }.items():
        monkeypatch.setenv(name, value)
    code, _, err = call()
    assert code == 0, err
    (chosen,) = settings
    assert chosen.symbols == ("ETH/USDT", "BTC/USDT")
    assert (chosen.feed.futures_ws, chosen.feed.spot_ws) == ("ws://127.0.0.1:1", "ws://127.0.0.1:2")
    assert chosen.feed.depth_speed_ms is None


def test_streams_are_switched_by_flag_environment_and_file(
    call: Call, settings: list[RunSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.yaml").write_text(
        "trade: true\nbook-ticker: false\nkline: [1m, 5m]\nbars: [5s, 1m]\n"
        "tick-sizes: {BTCUSDT: [10, 50], ETH/USDT: [0.5], default: auto}\n"
    )
    monkeypatch.setenv("TOPN", "20")
    monkeypatch.setenv("DEPTH_ENABLED", "false")
    arguments = ("--config", "c.yaml", "--no-storage", "-s", "ETH/USDT", "--force-order", "--depth-update")
    code, _, err = call("run", *arguments, "--order-book-snapshot", "--open-interest-interval", "30")
    assert code == 0, err
    (chosen,) = settings
    assert chosen.streams == ("depth", "aggTrade", "trade", "forceOrder", "kline_1m", "kline_5m", "depth20")
    assert chosen.symbols == ("ETH/USDT",)
    assert chosen.dry_run
    assert [(poll.what, poll.interval_s, poll.limit) for poll in chosen.feed.polls] == [
        ("book", 60.0, 1000),
        ("open_interest", 30.0, 0),
    ]
    assert chosen.session("BTCUSDT").tick_sizes == ("10", "50")
    assert chosen.session("ETHUSDT").tick_sizes == ("0.5",)
    assert chosen.session("SOLUSDT").tick_sizes == ()
    assert chosen.session("SOLUSDT").bars == ("5s", "1m")


def test_depth_is_off_by_its_known_name(
    call: Call, settings: list[RunSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPTH_ENABLED", "false")
    code, _, err = call("run", "--tick-sizes", "auto")
    assert code == 2
    assert "--tick-sizes" in err
    code, _, err = call("run")
    assert code == 0, err
    assert settings[-1].streams == ("aggTrade", "bookTicker")


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


def test_config_and_dry_run_can_be_set_in_the_environment(
    call: Call, settings: list[RunSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.yaml").write_text("steps: 7\n")
    monkeypatch.setenv("COLLECTOR_CONFIG", "c.yaml")
    monkeypatch.setenv("COLLECTOR_DRY_RUN", "true")
    code, _, err = call("run")
    assert code == 0, err
    assert settings[0].steps == 7
    assert settings[0].dry_run


def test_what_is_to_be_collected_does_not_filter_what_is_stored(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "c.yaml").write_text("exchange: [binance, bybit-swap]\nsymbol: ['*/USDT']\n")
    monkeypatch.setenv("COLLECTOR_EXCHANGE", "binance,bybit-swap")
    (tmp_path / ".env").write_text("SYMBOL=*/USDT:USDT\n")
    for command in ("stats", "gaps"):
        code, out, err = call(command, "--json", "--config", "c.yaml")
        assert code == 0, err
        assert json.loads(out) == []


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


def test_the_example_settings_are_all_known(tmp_path: Path) -> None:
    text = (ROOT / ".env.example").read_text()
    example = tmp_path / ".env"
    example.write_text("\n".join(line.removeprefix("#") if "=" in line else line for line in text.splitlines()))
    load_environment_file(example, options())
    check_environment(os.environ, options())


def test_no_two_options_share_a_variable() -> None:
    names = [name for option in sorted(options()) for name in variables(option)]
    assert len(names) == len(set(names))


def test_widths_are_checked_against_what_is_known_before_the_exchange_is_asked(
    call: Call, settings: list[RunSettings]
) -> None:
    for more in (
        ("--symbol", "ETH/USDT", "--symbol", "BTCUSDT"),
        ("--symbol", "*/USDT"),
        ("--symbol", "ETH/USDT", "--exchange", "bybit-swap"),
        ("--symbol", "ETH/USDT", "--shard-count", "2", "--shard-index", "0"),
        ("--symbol", "ETH/USDT", "--shard-count", "2", "--shard-index", "1"),
    ):
        assert call("run", "--tick-sizes", "ETHUSDT=10;default=auto", *more)[0] == 0
    assert len(settings) == 5


def every_option() -> Iterator[tuple[str, set[str]]]:
    """Every option of both programs: its command, and its spellings."""
    from training.cli import training

    def of(command: click.Command, name: str) -> Iterator[tuple[str, set[str]]]:
        yield from ((name, set(one.opts)) for one in command.params if isinstance(one, click.Option))
        if isinstance(command, click.Group):
            ctx = click.Context(command)
            for other in command.list_commands(ctx):
                found = command.get_command(ctx, other)
                assert found is not None
                yield from of(found, f"{name} {other}")

    yield from of(collector_commands, "collector")
    yield from of(training, "training")


@pytest.mark.parametrize(
    ("spelling", "other"),
    [
        ("--start", "--from"), ("--end", "--to"), ("--http-host", "--host"), ("--http-port", "--port"),
        ("--out", "--output"), ("--symbol", "-s"),
    ],
)  # fmt: skip
def test_what_means_the_same_can_be_spelled_alike_everywhere(spelling: str, other: str) -> None:
    found = [(command, names) for command, names in every_option() if spelling in names]
    assert found
    assert [command for command, names in found if other not in names] == []


def test_every_command_has_help(call: Call) -> None:
    for command in COMMANDS:
        code, out, _ = call(command, "--help")
        assert code == 0
        assert "Usage: collector" in out


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


def test_a_dry_run_imports_neither_clouds_nor_torch_nor_parquet() -> None:
    code = (
        "import sys, collector.cli, collector.pipeline\n"
        "collector.cli.options()\n"  # as a start with settings in the environment does: all commands are imported
        "from collector.sources.lazy_ccxt import load\n"
        "load('binanceusdm')\n"
        "heavy = {'torch', 'pyarrow', 'pandas', 'boto3', 'botocore', 'google.cloud', 'grpc'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_ctrl_c_while_modules_are_imported_shows_no_traceback() -> None:
    code = (
        "import os, runpy, signal, sys\n"
        "class Press:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'click': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Press())\n"
        "runpy.run_module('collector', run_name='__main__')"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_check_looks_and_touches_nothing(call: Call, settings: list[RunSettings], tmp_path: Path) -> None:
    code, out, _ = call("run", "--check", "--steps", "7", "--data-dir", tmp_path / "none")
    assert (code, out) == (0, "the settings are good\n")
    assert not settings
    assert not list(tmp_path.iterdir())
    code, _, err = call("run", "--check", "--backend", "nowhere")
    assert code == 2
    assert "nowhere" in err


def test_the_first_process_of_a_container_ends_at_a_signal(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        call("--version")
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        monkeypatch.setattr(os, "getpid", lambda: 1)
        call("--version")
        with pytest.raises(SystemExit) as stop:
            signal.raise_signal(signal.SIGTERM)
        assert stop.value.code == 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)
