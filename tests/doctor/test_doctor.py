"""`doctor` on a simulator that misbehaves, and on machines that cannot do what a run needs."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.cli import main
from collector.clock import Clock, ManualClock, SystemClock
from collector.doctor.exchange import explain
from collector.doctor.machine import check_disk_speed, check_open_files, check_space, check_wall_clock
from collector.doctor.report import Check, as_json, as_table, good
from collector.doctor.store import check_backend
from storage_backends.local import LocalBackend
from storage_backends.settings import StoreSettings
from tests.live.harness import Simulator

Doctor = Callable[..., tuple[int, dict[str, dict[str, Any]]]]


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    started = Simulator("--symbols", "2")
    yield started
    started.kill()


@pytest.fixture
def doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Runs the command: exit code, and its checks by name."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
        with pytest.raises(SystemExit) as stop:
            main(["doctor", "--json", "--seconds", "1", *arguments])
        report = json.loads(capsys.readouterr().out)
        assert report["ok"] == (stop.value.code == 0)
        assert isinstance(stop.value.code, int)
        assert list(tmp_path.iterdir()) == [], "the doctor leaves nothing behind"
        return stop.value.code, {check["name"]: check for check in report["checks"]}

    return run


def test_all_is_well(doctor: Doctor, simulator: Simulator) -> None:
    code, checks = doctor("--url-root", simulator.url, "--exchange", "binance", "--exchange", "binanceusdm")
    assert code == 0, checks
    assert {name for name, check in checks.items() if check["level"] != "ok"} <= {"disk space"}
    for exchange in ("binance", "binanceusdm"):
        for what in ("DNS", "ping", "clock", "depth", "aggTrade", "bookTicker", "weight"):
            assert f"{exchange} {what}" in checks
    assert {"wall clock", "disk writes", "open files", "backend local"} <= checks.keys()
    assert 0 < checks["binance weight"]["data"]["used"] < 6000


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("451", "country"),
        ("403", "firewall"),
        ("418", "banned"),
        ("429", "weight"),
        ("503", "status page"),
        ("404", "--url-root"),
    ],
)
def test_refusals_are_explained(doctor: Doctor, simulator: Simulator, status: str, words: str) -> None:
    simulator.fault(f"rest:status={status},n=1,market=binanceusdm,path=ping")
    code, checks = doctor("--url-root", simulator.url)
    assert code == 1
    ping = checks["binanceusdm ping"]
    assert ping["level"] == "FAIL"
    assert ping["data"]["status"] == int(status)
    assert words in ping["mend"]


def test_a_refusal_after_the_ping_is_explained_too(doctor: Doctor, simulator: Simulator) -> None:
    simulator.fault("rest:status=451,n=1,market=binanceusdm,path=exchangeInfo")
    code, checks = doctor("--url-root", simulator.url)
    assert code == 1
    assert "country" in checks["binanceusdm streams"]["mend"]


@pytest.mark.parametrize(("stream", "others"), [("aggTrade", "depth"), ("depth", "bookTicker")])
def test_a_dead_stream_is_named(doctor: Doctor, simulator: Simulator, stream: str, others: str) -> None:
    simulator.fault(f"freeze:stream={stream},symbol=ETHUSDT,market=binanceusdm")
    try:
        code, checks = doctor("--url-root", simulator.url, "--symbol", "BTC/USDT", "--symbol", "ETH/USDT")
    finally:
        simulator.fault(f"thaw:stream={stream},symbol=ETHUSDT,market=binanceusdm")
    assert code == 1
    found = checks[f"binanceusdm {stream}"]
    assert found["level"] == "FAIL"
    assert [name.partition("@")[0] for name in found["data"]["dead"]] == ["ethusdt"]
    assert "ethusdt@" in found["found"]
    assert "1 of 2 streams deliver" in found["found"]
    assert checks[f"binanceusdm {others}"]["level"] == "ok"


def test_a_quiet_market_is_no_failure(doctor: Doctor, simulator: Simulator) -> None:
    quiet = next(
        one["symbol"]
        for one in simulator.get("/fapi/v1/exchangeInfo")["symbols"]
        if one["symbol"] not in {"BTCUSDT", "ETHUSDT"} and one["status"] == "TRADING" and one["quoteAsset"] == "USDT"
    )
    code, checks = doctor("--url-root", simulator.url, "--symbol", quiet, "--streams", "aggTrade")
    assert code == 0, checks
    assert checks["binanceusdm aggTrade"]["level"] == "warn"
    assert checks["binanceusdm aggTrade"]["data"]["dead"] == []


def test_a_refused_subscription_fails(doctor: Doctor) -> None:
    simulator = Simulator("--symbols", "1")
    try:
        simulator.fault("reject:n=50")
        code, checks = doctor("--url-root", simulator.url, "--streams", "depth")
    finally:
        simulator.kill()
    assert code == 1
    assert "rejected" in checks["binanceusdm depth"]["found"]


def test_nobody_there(doctor: Doctor) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        code, checks = doctor("--url-root", url)
    assert code == 1
    assert checks["binanceusdm ping"]["data"]["status"] is None
    assert "check the network" in checks["binanceusdm ping"]["mend"]


def test_no_name_server(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(proxy, raising=False)
    code, checks = doctor("--url-root", "http://exchange.invalid:1")
    assert code == 1
    assert checks["binanceusdm DNS"]["level"] == "FAIL"
    assert "resolv.conf" in checks["binanceusdm DNS"]["mend"]
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    _, checks = doctor("--url-root", "http://exchange.invalid:1")
    assert checks["binanceusdm DNS"]["level"] == "warn"


def test_wrong_usage_is_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--exchange", "kraken"], ["--streams", "candles"], ["--backend", "tape"], ["--seconds", "0"]):
        with pytest.raises(SystemExit) as stop:
            main(["doctor", *arguments])
        assert stop.value.code == 2
        assert arguments[0] in capsys.readouterr().err


def test_the_file_of_run_serves_the_doctor(doctor: Doctor, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("config") / "c.yaml"
    file.write_text("steps: 20\nexchange: binance\nurl_root: http://127.0.0.1:1\n")
    _, checks = doctor("--config", str(file))
    assert "binance ping" in checks


def test_a_stepped_wall_clock() -> None:
    clock = ManualClock(10**18)
    assert check_wall_clock(clock).level == "ok"
    clock.step_ns = -3_600_000_000_000
    assert check_wall_clock(clock).level == "warn"


@pytest.mark.parametrize(("ahead_ns", "level"), [(0, "ok"), (400_000_000, "warn"), (-5_000_000_000, "FAIL")])
def test_a_clock_that_is_off(
    doctor: Doctor, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, ahead_ns: int, level: str
) -> None:
    class Off(SystemClock):
        def now_ns(self) -> int:
            return super().now_ns() + ahead_ns

    monkeypatch.setattr("collector.commands.doctor.SystemClock", Off)
    _, checks = doctor("--url-root", simulator.url, "--streams", "bookTicker")
    assert checks["binanceusdm clock"]["level"] == level


def test_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(tmp_path).free
    assert check_space(tmp_path / "not" / "yet", min(free // 2, 1 << 20)).level == "ok"
    assert check_space(tmp_path, 2 * free).level == "warn"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 30, (1 << 30) - 4096, 4096))
    assert check_space(tmp_path, 1 << 30).level == "FAIL"


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    check = check_disk_speed(tmp_path, SystemClock())
    assert check.level == "FAIL"
    assert "Permission denied" in check.found
    assert "--data-dir" in check.mend


@pytest.mark.parametrize(("sync_s", "level"), [(0.0, "ok"), (0.4, "warn"), (2.0, "FAIL")])
def test_a_slow_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync_s: float, level: str) -> None:
    clock = ManualClock(10**18)
    monkeypatch.setattr(os, "fsync", lambda _: clock.advance(sync_s))
    assert check_disk_speed(tmp_path, clock).level == level
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("soft", "level"), [(64, "FAIL"), (100, "warn"), (1024, "ok"), (resource.RLIM_INFINITY, "ok")])
def test_open_files(monkeypatch: pytest.MonkeyPatch, soft: int, level: str) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
    check = check_open_files(3, 1)
    assert check.level == level
    assert ("ulimit" in check.mend) == (level != "ok")


def test_a_backend_that_forgets_or_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock: Clock = SystemClock()
    assert check_backend(StoreSettings(data_dir=tmp_path / "data"), clock).level == "ok"
    assert check_backend(StoreSettings(backend="none", data_dir=tmp_path), clock).level == "ok"
    with monkeypatch.context() as patch:
        patch.setattr(LocalBackend, "_scan", lambda *_: iter(()))
        assert check_backend(StoreSettings(data_dir=tmp_path), clock).level == "FAIL"
    (tmp_path / "file").write_text("in the way")
    assert check_backend(StoreSettings(data_dir=tmp_path / "file"), clock).level == "FAIL"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_report() -> None:
    checks = [Check("a", "ok", "fine"), Check("longer", "FAIL", "broken", "mend it", {"n": 1})]
    assert list(as_table(checks)) == [
        "ok    a       fine",
        "FAIL  longer  broken",
        "              → mend it",
        "1 ok, 0 to look at, 1 failed",
    ]
    assert json.loads(as_json(checks))["checks"][1]["data"] == {"n": 1}
    assert not good(checks)
    assert good([Check("a", "warn", "so so")])


def test_every_status_has_a_mend() -> None:
    assert all(explain(status) for status in (None, 400, 401, 403, 404, 418, 429, 451, 500, 503))
