"""A live run into a bucket: killed, refused, slowed down. Whatever happens, ids sent = ids stored ∪ ids in gaps."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.audit.gaps import read_gaps
from storage_backends.interface import Market
from storage_backends.s3 import S3Backend, S3Days
from storage_backends.s3_client import Location
from tests.live.harness import Process, Simulator, collector, live
from tests.live.invariant import check_promise
from tests.storage_backends import s3_server
from tests.storage_backends.s3_proxy import S3Proxy, proxy
from tests.stores import rows

MARKET = Market("binanceusdm", "BTCUSDT")


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    with s3_server.store() as url:
        yield url


@pytest.fixture
def between(s3_url: str) -> Iterator[S3Proxy]:
    with proxy(s3_url) as made:
        yield made


def options(location: Location, url: str) -> list[str]:
    return [
        *("--backend", "s3", "--s3-bucket", location.bucket, "--s3-prefix", location.prefix),
        *("--s3-endpoint-url", url),
    ]


def mirror(location: Location, folder: Path) -> Path:
    """The bucket's objects as files. Every one of them is whole, or the audit of the folder says so."""
    store = s3_server.client(str(location.endpoint_url))
    for page in store.get_paginator("list_objects_v2").paginate(Bucket=location.bucket):
        for each in page.get("Contents", ()):
            path = folder / each["Key"].removeprefix(f"{location.prefix}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            store.download_file(location.bucket, each["Key"], str(path))
    return folder


def check(simulator: Simulator, location: Location, folder: Path) -> None:
    """The promise, and `verify`, on the bucket's objects."""
    check_promise(simulator, mirror(location, folder), MARKET)
    report = json.loads(collector("verify", "--json", "--data-dir", folder, check=False).stdout)
    assert report["ok"], report


def killed(
    simulator: Simulator, between: S3Proxy, location: Location, tmp_path: Path, processes: list[Process], kills: int
) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    # Uploads take long enough for many a kill to fall into one; some are carried out and their answer is lost.
    bad_days: tuple[tuple[object, ...] | None, ...] = (("delay", 0.3), ("delay", 0.05), ("commit and drop",), None)
    between.fault = lambda method, path: chance.choice(bad_days) if method == "PUT" else None
    run = ("run", "--url-root", simulator.url, "--data-dir", str(tmp_path / "data"), "--flush-interval", "1")
    for _ in range(kills):
        process = Process(*run, *options(location, between.url))
        processes.append(process)
        process.wait_for("collecting")
        time.sleep(chance.uniform(0, 2.2))
        process.kill()
    between.fault = lambda method, path: None
    process = live(simulator, tmp_path / "data", "--flush-interval", "1", *options(location, between.url))
    processes.append(process)
    time.sleep(2)
    assert process.stop() == 0, process.output
    assert "everything is stored in s3://" in process.output
    check(simulator, location, tmp_path / "mirror")


@pytest.mark.parametrize(
    "kills", [6, pytest.param(20, marks=pytest.mark.soak), pytest.param(50, marks=pytest.mark.soak)]
)
def test_kill_9_at_random_moments(
    simulate: Callable[..., Simulator],
    between: S3Proxy,
    s3_url: str,
    tmp_path: Path,
    processes: list[Process],
    kills: int,
) -> None:
    killed(simulate("--symbols", "1"), between, s3_server.new_location(s3_url), tmp_path, processes, kills)


def test_a_store_that_is_busy_slow_or_refuses_credentials_costs_nothing(
    simulate: Callable[..., Simulator], between: S3Proxy, s3_url: str, tmp_path: Path, processes: list[Process]
) -> None:
    simulator, location = simulate("--symbols", "1"), s3_server.new_location(s3_url)
    chosen = options(location, between.url)
    process = live(simulator, tmp_path / "data", "--flush-interval", "1", *chosen)
    processes.append(process)
    time.sleep(2)
    between.fault = lambda method, path: ("answer", 503, "SlowDown", {"Retry-After": "1"})
    process.wait_for("backend away")
    between.fault = lambda method, path: ("answer", 403, "ExpiredToken", {})
    time.sleep(3)
    said = json.loads(collector("journal", "--json", "--data-dir", tmp_path / "data").stdout)
    between.fault = lambda method, path: ("delay", 1.0)
    process.wait_for("backend back")
    between.fault = lambda method, path: None
    assert process.stop() == 0, process.output
    assert "everything is stored" in process.output
    assert "ExpiredToken" in str(said) or "SlowDown" in str(said), said
    check(simulator, location, tmp_path / "mirror")
    store = S3Backend(location)
    assert read_gaps(store, MARKET) == []
    epochs = [row["epoch"] for row in rows(store, "depth", MARKET)]
    assert epochs == list(range(epochs[0], epochs[-1] + 1))
    # All commands read the bucket itself.
    for command in (["verify"], ["stats"], ["gaps"], ["book", "--at", str(epochs[-1])], ["compact"]):
        done = collector(*command, *chosen)
        assert done.stdout, command


def test_a_bucket_that_is_not_there_ends_the_start(simulate: Callable[..., Simulator], s3_url: str) -> None:
    location = Location("no-such-bucket")
    done = collector("run", "--data-dir", "/nowhere/data", *options(location, s3_url)[:4], "--s3-endpoint-url", s3_url,
                     check=False)  # fmt: skip
    assert done.returncode == 2
    assert "--s3-bucket" in done.stderr


def test_two_collectors_of_one_market_make_one_store_without_a_gap(
    simulate: Callable[..., Simulator], s3_url: str, tmp_path: Path, processes: list[Process]
) -> None:
    simulator, location = simulate("--symbols", "1"), s3_server.new_location(s3_url)

    def start(name: str) -> Process:
        # What REST would fill in is for the other collector's rows to explain.
        process = live(simulator, tmp_path / name, "--no-heal", "--flush-interval", "1", *options(location, s3_url))
        processes.append(process)
        time.sleep(2)
        return process

    running = {"one": start("one"), "other": start("other")}
    for name in ("one", "other"):
        assert running[name].stop() == 0, running[name].output
        running[name] = start(name)
    for process in running.values():
        assert process.stop() == 0, process.output
    store, days = S3Backend(location), S3Days(location)
    stated = [gap.stream for gap in read_gaps(store, MARKET) if gap.reason == "restart" and not gap.healed]
    assert {"depth", "trades", "book_ticker"} <= set(stated)
    found = json.loads(collector("gaps", "--json", *options(location, s3_url)).stdout)
    assert all(gap["healed"] for gap in found), [gap for gap in found if not gap["healed"]]
    report = json.loads(collector("verify", "--json", *options(location, s3_url)).stdout)
    covered = report["markets"][0]["covered"]
    assert covered["seconds"] == covered["of"] > 8
    # Merged, no row is there twice.
    for day in list(days.days()):
        days.compact(day)
    check(simulator, location, tmp_path / "mirror")
