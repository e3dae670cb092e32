"""Every command of infra/aws, by AWS's own command line against moto's server, all of it twice."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.infra.conftest import refused, run, tool

pytestmark = pytest.mark.infra
REGION = "ap-northeast-1"
JOB = "depth-collector-training"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """URL of a moto server that knows AWS's own policies."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env={**os.environ, "MOTO_IAM_LOAD_MANAGED_POLICIES": "true"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    ends_s = time.monotonic() + 240
    while True:
        try:
            urllib.request.urlopen(f"{url}/moto-api/", timeout=5).close()
            break
        except OSError:
            assert time.monotonic() < ends_s
            time.sleep(0.2)
    yield url
    server.terminate()
    server.wait(120)


@pytest.fixture
def env(moto: str, tmp_path: Path) -> dict[str, str]:
    """Of a user with an account at moto, and a docker that only says yes."""
    docker = tmp_path / "bin/docker"
    docker.parent.mkdir()
    docker.write_text('#!/bin/sh\n[ "$1" != login ] || cat >/dev/null\necho "$*" >>"$DOCKER_CALLS"\n')
    docker.chmod(0o755)
    return {
        "PATH": f"{docker.parent}:{Path(tool('aws', 'awscli')).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "DOCKER_CALLS": str(tmp_path / "calls"),
        "AWS_ENDPOINT_URL": moto,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "SYMBOL": "BTC/USDT,ETH/USDT",
        "PROFILE_WAIT_S": "0",
        "OVERLAP_S": "0",
    }


def client(url: str, service: str) -> Any:
    return boto3.client(
        service, region_name=REGION, endpoint_url=url, aws_access_key_id="test", aws_secret_access_key="test"
    )


def machines(ec2: Any) -> dict[str, str]:
    found = [one for page in ec2.describe_instances()["Reservations"] for one in page["Instances"]]
    return {one["InstanceId"]: one["State"]["Name"] for one in found if one["State"]["Name"] != "terminated"}


def volumes(ec2: Any) -> list[str]:
    found = ec2.describe_volumes(Filters=[{"Name": "tag:stack", "Values": ["depth-collector"]}])["Volumes"]
    return [one["VolumeId"] for one in found]


def collects(url: str, stop: threading.Event, *lines: str) -> None:
    """What the machines' logs would hold: moto's machines run nothing."""
    ec2, logs = client(url, "ec2"), client(url, "logs")
    seen: set[str] = set()
    while not stop.wait(0.5):
        for page in ec2.describe_instances()["Reservations"]:
            for one in page["Instances"]:
                if one["InstanceId"] in seen or one["State"]["Name"] == "terminated":
                    continue
                seen.add(one["InstanceId"])
                stream = {"logGroupName": "/depth-collector", "logStreamName": one["PrivateDnsName"]}
                logs.create_log_stream(**stream)
                now_ms = int(time.time() * 1000)
                logs.put_log_events(**stream, logEvents=[{"timestamp": now_ms, "message": text} for text in lines])


def test_from_nothing_to_a_collector_and_back_twice(moto: str, env: dict[str, str]) -> None:
    ec2, s3 = client(moto, "ec2"), client(moto, "s3")
    bucket = f"depth-collector-123456789012-{REGION}"
    for _ in range(2):
        run("infra/aws/create.sh", env=env)
    (machine,) = machines(ec2)
    user_data = ec2.describe_instance_attribute(InstanceId=machine, Attribute="userData")["UserData"]["Value"]
    assert user_data
    (instance,) = ec2.describe_instances(InstanceIds=[machine])["Reservations"][0]["Instances"]
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert instance["MetadataOptions"]["HttpPutResponseHopLimit"] == 2
    for group in instance["SecurityGroups"]:
        rules = ec2.describe_security_groups(GroupIds=[group["GroupId"]])["SecurityGroups"][0]
        assert rules["IpPermissions"] == [], "a port is open"
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]["BlockPublicAcls"]
    for _ in range(2):
        run("infra/aws/deploy.sh", env=env)
        run("infra/aws/restart.sh", env=env)
        run("infra/aws/logs.sh", "60", env=env)
    assert Path(env["DOCKER_CALLS"]).read_text().count("push ") == 4
    stop = threading.Event()
    thread = threading.Thread(
        target=collects, args=(moto, stop, "… epoch: 1", "stopped; everything is stored in /data")
    )
    thread.start()
    try:
        for _ in range(2):
            before = set(machines(ec2))
            run("infra/aws/update.sh", env=env)
            after = set(machines(ec2))
            assert len(after) == 1
            assert not before & after
    finally:
        stop.set()
        thread.join()
    assert len(volumes(ec2)) == 1
    # moto takes the policy's "never without TLS" for "never".
    s3.delete_bucket_policy(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="trades/a", Body=b"rows")
    assert "--yes" in refused("infra/aws/destroy.sh", env)
    assert len(machines(ec2)) == 1
    run("infra/aws/destroy.sh", "--yes", env=env)
    assert s3.head_object(Bucket=bucket, Key="trades/a")
    assert not volumes(ec2)
    run("infra/aws/destroy.sh", "--yes", "--data", env=env)
    assert not machines(ec2)
    assert not s3.list_buckets()["Buckets"]
    run("infra/aws/destroy.sh", "--yes", "--data", env=env)


def test_the_nightly_job_is_made_updated_and_taken_down_twice(moto: str, env: dict[str, str]) -> None:
    training = "infra/aws/training.sh"
    batch, events, iam, s3 = (client(moto, service) for service in ("batch", "events", "iam", "s3"))
    bucket = f"depth-collector-123456789012-{REGION}"
    assert "create.sh" in refused(training, env)
    run("infra/aws/create.sh", env=env)
    roles = {one["RoleName"] for one in iam.list_roles()["Roles"]}
    assert "deploy.sh --training" in refused(training, env)
    assert {one["RoleName"] for one in iam.list_roles()["Roles"]} == roles
    # What deploy.sh --training leaves: docker only says yes here.
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}
    client(moto, "ecr").put_image(
        repositoryName="depth-collector", imageTag="training", imageManifest=json.dumps(manifest)
    )

    env |= {"JOB_SYMBOL": "ETHUSDT", "JOB_TRAIN": '--epochs 5 --features a,b --name "x\\y"'}
    run(training, env=env)
    said = run(training, env={**env, "JOB_SCHEDULE": "cron(0 4 * * ? *)", "JOB_DAYS": "7"})
    assert f"s3://{bucket}/models" in said
    assert events.describe_rule(Name=JOB)["ScheduleExpression"] == "cron(0 4 * * ? *)"
    (target,) = events.list_targets_by_rule(Rule=JOB)["Targets"]
    (queue,) = batch.describe_job_queues()["jobQueues"]
    (place,) = batch.describe_compute_environments()["computeEnvironments"]
    assert queue["computeEnvironmentOrder"][0]["computeEnvironment"] == place["computeEnvironmentArn"]
    assert place["computeResources"]["type"] == "FARGATE_SPOT"
    (definition,) = batch.describe_job_definitions(status="ACTIVE")["jobDefinitions"]
    assert (target["Arn"], target["BatchParameters"]["JobDefinition"]) == (
        queue["jobQueueArn"],
        definition["jobDefinitionArn"],
    )
    container = definition["containerProperties"]
    variables = {one["name"]: one["value"] for one in container["environment"]}
    assert {name: variables[name] for name in ("JOB_SYMBOL", "JOB_DAYS", "JOB_TRAIN", "S3_BUCKET")} == {
        "JOB_SYMBOL": "ETHUSDT",
        "JOB_DAYS": "7",
        "JOB_TRAIN": env["JOB_TRAIN"],
        "S3_BUCKET": bucket,
    }
    (right,) = (
        one
        for one in iam.get_role_policy(RoleName=JOB, PolicyName="training")["PolicyDocument"]["Statement"]
        if "s3:PutObject" in one["Action"]
    )
    assert right["Resource"] == f"arn:aws:s3:::{bucket}/models/*", "it may not change rows"
    for name in (container["jobRoleArn"], container["executionRoleArn"], target["RoleArn"], place["serviceRole"]):
        assert iam.get_role(RoleName=name.rpartition("/")[2])

    s3.delete_bucket_policy(Bucket=bucket)  # as above
    for data in ((), ("--data",)):
        run("infra/aws/destroy.sh", "--yes", *data, env=env)
        assert not batch.describe_job_queues()["jobQueues"]
        assert not batch.describe_compute_environments()["computeEnvironments"]
        assert not batch.describe_job_definitions(status="ACTIVE")["jobDefinitions"]
        assert not events.list_rules()["Rules"]
        assert not iam.list_roles()["Roles"]
    assert not s3.list_buckets()["Buckets"]


def test_an_update_that_does_not_collect_leaves_the_old_machine_alone(moto: str, env: dict[str, str]) -> None:
    ec2 = client(moto, "ec2")
    run("infra/aws/create.sh", env=env)
    (old,) = machines(ec2)
    assert "the old machine goes on" in refused("infra/aws/update.sh", {**env, "UPDATE_WAIT_S": "0"})
    assert machines(ec2)[old] == "running"
    # Neither machine has said that everything is stored.
    said = run("infra/aws/destroy.sh", "--yes", env=env)
    assert len(volumes(ec2)) == 2
    assert all(volume in said for volume in volumes(ec2))
    run("infra/aws/destroy.sh", "--yes", "--data", env=env)
    assert not volumes(ec2)


def test_without_an_account_it_says_what_to_do(env: dict[str, str]) -> None:
    nobody = {**env, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    assert "aws configure" in refused("infra/aws/create.sh", nobody)
    nowhere = {name: value for name, value in env.items() if name != "AWS_REGION"}
    assert "AWS_REGION" in refused("infra/aws/create.sh", nowhere)
