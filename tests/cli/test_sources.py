"""Where settings come from: flags, environment, `.env`, YAML, and the names that users know."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from collector.cli import options
from collector.config import check_environment, load_environment_file, variables
from collector.settings import RunSettings
from tests.cli.call import Call

ROOT = Path(__file__).parents[2]


def test_a_file_knows_options_by_their_flags_too(call: Call, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("record: true\nno-storage: true\n")
    code, out, err = call("run", "--check", "--config", "c.yaml")
    assert (code, out) == (0, "the settings are good\n"), err


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


def test_check_looks_and_touches_nothing(call: Call, settings: list[RunSettings], tmp_path: Path) -> None:
    code, out, _ = call("run", "--check", "--steps", "7", "--data-dir", tmp_path / "none")
    assert (code, out) == (0, "the settings are good\n")
    assert not settings
    assert not list(tmp_path.iterdir())
    code, _, err = call("run", "--check", "--backend", "nowhere")
    assert code == 2
    assert "nowhere" in err
