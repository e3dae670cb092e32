"""Every command of infra/gcloud, by gcloud itself against a recorder, all of it twice."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.conftest import ROOT, run, tool
from tests.infra.google_recorder import PROJECT, Recorder

pytestmark = pytest.mark.infra


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    server = Recorder()
    server.messages = ["… epoch: 1", "stopped; everything is stored in /data"]
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def env(recorder: Recorder, tmp_path: Path) -> dict[str, str]:
    """Of a user with a project, and a docker that only says yes."""
    docker = tmp_path / "bin/docker"
    docker.parent.mkdir()
    docker.write_text('#!/bin/sh\necho "$*" >>"$DOCKER_CALLS"\n')
    docker.chmod(0o755)
    return {
        "PATH": f"{docker.parent}:{Path(tool('gcloud')).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "DOCKER_CALLS": str(tmp_path / "calls"),
        "PROJECT_ID": PROJECT,
        "SYMBOL": "BTC/USDT,ETH/USDT",
        "OVERLAP_S": "0",
        **recorder.environment(),
    }


def test_from_nothing_to_a_collector_on_bigtable_and_back_twice(recorder: Recorder, env: dict[str, str]) -> None:
    env["BACKEND"] = "bigtable"
    run("infra/gcloud/create.sh", env=env)
    made = recorder.made
    run("infra/gcloud/create.sh", env=env)
    assert recorder.made == made, "the second time there was nothing to make"
    body = next(
        body
        for method, path, body in recorder.requests
        if method == "POST" and path.endswith("/instances") and "/zones/" in path
    )
    metadata = {one["key"]: one["value"] for one in body["metadata"]["items"]}
    assert "DB_BACKEND=bigtable" in metadata["user-data"]
    assert "SYMBOL=BTC/USDT,ETH/USDT" in metadata["user-data"]
    assert "${" not in metadata["user-data"]
    assert body["serviceAccounts"][0]["email"].startswith("depth-collector@")
    tables = {path.rsplit("/", 1)[1] for path in recorder.resources if "/tables/" in path}
    assert tables == {"market_data", "binance_btc_depth"}
    assert not [path for _, path, _ in recorder.requests if "firewall" in path], "a port was opened"
    for _ in range(2):
        run("infra/gcloud/deploy.sh", env=env)
        run("infra/gcloud/logs.sh", "60", env=env)
        run("infra/gcloud/restart.sh", env=env)
    assert Path(env["DOCKER_CALLS"]).read_text().count("push ") == 4
    old = _machines(recorder)
    run("infra/gcloud/update.sh", env=env)
    new = _machines(recorder)
    assert len(new) == 1
    assert not old & new
    assert len(recorder.named("disks")) == 1
    refused = subprocess.run(
        ["infra/gcloud/destroy.sh"], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert _machines(recorder) == new
    run("infra/gcloud/destroy.sh", "--yes", env=env)
    assert not _machines(recorder)
    assert recorder.named("disks")
    assert tables <= {path.rsplit("/", 1)[1] for path in recorder.resources}
    run("infra/gcloud/destroy.sh", "--yes", "--data", env=env)
    assert not recorder.resources


def test_on_the_local_disk_an_update_keeps_machine_and_disk(recorder: Recorder, env: dict[str, str]) -> None:
    run("infra/gcloud/create.sh", env=env)
    before = set(recorder.resources)
    assert not [path for path in before if path.startswith("/bigtableadmin")]
    run("infra/gcloud/update.sh", "20261125-120000", env=env)
    assert set(recorder.resources) == before
    body = next(body for _, path, body in recorder.requests if path.endswith("/setMetadata"))
    assert "collector:20261125-120000" in str(body)


def test_without_a_project_it_says_how_to_find_one(env: dict[str, str]) -> None:
    del env["PROJECT_ID"]
    done = subprocess.run(["infra/gcloud/create.sh"], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "gcloud projects list" in done.stderr


def _machines(recorder: Recorder) -> set[str]:
    return {path.rsplit("/", 1)[1] for path in recorder.resources if "/zones/" in path and "/instances/" in path}
