"""Every command of infra/gcloud, by gcloud itself against a recorder, all of it twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.conftest import refused, run, tool
from tests.infra.google_recorder import PROJECT, Recorder

pytestmark = pytest.mark.infra
_JOB = "depth-collector-training"


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
    assert "--yes" in refused("infra/gcloud/destroy.sh", env)
    assert _machines(recorder) == new
    run("infra/gcloud/destroy.sh", "--yes", env=env)
    assert not _machines(recorder)
    assert recorder.named("disks")
    assert tables <= {path.rsplit("/", 1)[1] for path in recorder.resources}
    run("infra/gcloud/destroy.sh", "--yes", "--data", env=env)
    assert not recorder.resources


def test_on_the_local_disk_an_update_keeps_machine_and_disk(recorder: Recorder, env: dict[str, str]) -> None:
    env["SSH_THROUGH_IAP"] = "yes"
    for _ in range(2):
        run("infra/gcloud/create.sh", env=env)
    before = set(recorder.resources)
    assert not [path for path in before if path.startswith("/bigtableadmin")]
    (rule,) = [body for path, body in recorder.resources.items() if "/firewalls/" in path]
    assert rule["sourceRanges"] == ["35.235.240.0/20"]
    assert rule["allowed"] == [{"IPProtocol": "tcp", "ports": ["22"]}]
    run("infra/gcloud/update.sh", "20261125-120000", env=env)
    assert set(recorder.resources) == before
    body = next(body for _, path, body in recorder.requests if path.endswith("/setMetadata"))
    assert "collector:20261125-120000" in str(body)
    run("infra/gcloud/destroy.sh", "--yes", "--data", env=env)
    assert not recorder.resources


def test_the_nightly_job_is_made_updated_and_taken_down_twice(recorder: Recorder, env: dict[str, str]) -> None:
    training = "infra/gcloud/training.sh"
    assert "BACKEND=bigtable" in refused(training, env)
    # What create.sh and deploy.sh --training leave, of which the first is run above.
    instance = f"/bigtableadmin/v2/projects/{PROJECT}/instances/depth-collector"
    repository = f"/artifactregistry/v1/projects/{PROJECT}/locations/asia-southeast1/repositories/depth-collector"
    recorder.resources |= {instance: {"name": instance[18:]}, repository: {"name": repository[21:], "format": "DOCKER"}}
    assert "deploy.sh --training" in refused(training, env)
    image = f"{repository}/packages/training"
    recorder.resources[f"{image}/tags/live"] = {"version": f"{image[21:]}/versions/sha256:{'a' * 64}"}

    env |= {"JOB_SYMBOL": "ETHUSDT", "JOB_TRAIN": "--epochs 5 --features a,b"}
    run(training, env=env)
    made = set(recorder.resources)
    assert {"depth-collector-training", f"{PROJECT}-depth-collector-models"} <= {one.rpartition("/")[2] for one in made}
    run(training, "--run", env={**env, "JOB_SCHEDULE": "0 4 * * *"})
    assert set(recorder.resources) == made
    schedule = recorder.resources[f"/cloudscheduler/v1/projects/{PROJECT}/locations/asia-southeast1/jobs/{_JOB}"]
    assert schedule["schedule"] == "0 4 * * *"
    assert schedule["httpTarget"]["uri"].endswith(f"/jobs/{_JOB}:run")
    (job,) = [body for path, body in recorder.resources.items() if path.startswith("/run/")]
    task = job["spec"]["template"]["spec"]["template"]["spec"]
    (container,) = task["containers"]
    variables = {one["name"]: one["value"] for one in container["env"]}
    assert variables["JOB_SYMBOL"] == "ETHUSDT"
    assert variables["JOB_TRAIN"] == "--epochs 5 --features a,b"
    assert container["volumeMounts"] == [{"name": "results", "mountPath": variables["JOB_RESULTS"]}]
    assert task["serviceAccountName"].startswith("depth-collector-train@")
    assert [path for method, path, _ in recorder.requests if method == "POST" and path.endswith(f"{_JOB}:run")]

    for _ in range(2):
        run("infra/gcloud/destroy.sh", "--yes", env=env)
        assert {path.split("/")[1] for path in recorder.resources} == {"bigtableadmin", "storage"}
    run("infra/gcloud/destroy.sh", "--yes", "--data", env=env)
    assert not recorder.resources


def test_a_right_is_given_again_until_its_new_account_is_known(recorder: Recorder, env: dict[str, str]) -> None:
    recorder.unknown_accounts = 2
    run("infra/gcloud/create.sh", env=env)
    assert recorder.unknown_accounts == 0


def test_without_a_project_it_says_how_to_find_one(env: dict[str, str]) -> None:
    del env["PROJECT_ID"]
    assert "gcloud projects list" in refused("infra/gcloud/create.sh", env)


def test_without_a_login_nothing_is_called_gone(recorder: Recorder, env: dict[str, str]) -> None:
    recorder.logged_in = False
    said = refused("infra/gcloud/destroy.sh", env, "--yes")
    assert "gcloud auth login" in said
    assert "is gone" not in said


def _machines(recorder: Recorder) -> set[str]:
    return {path.rsplit("/", 1)[1] for path in recorder.resources if "/zones/" in path and "/instances/" in path}
