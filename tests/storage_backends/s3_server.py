"""An S3 store of its own for tests: moto's server on loopback, or the real store that S3_TEST_ENDPOINT names."""

from __future__ import annotations

import functools
import itertools
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest

from storage_backends.s3_client import Location

_numbers = itertools.count(1)
REAL = "S3_TEST_ENDPOINT"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test-secret", "AWS_DEFAULT_REGION": "us-east-1"}
"""What moto takes as credentials; a real store has those of the environment."""


@contextmanager
def _store_url() -> Iterator[str]:
    """Where an S3 store listens."""
    if REAL in os.environ:
        yield os.environ[REAL]
        return
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


@contextmanager
def store() -> Iterator[str]:
    """Where an S3 store listens; credentials for it are in the environment meanwhile."""
    with pytest.MonkeyPatch.context() as patch, _store_url() as url:
        if REAL not in os.environ:
            for name, value in KEYS.items():
                patch.setenv(name, value)
        yield url


@functools.cache
def client(url: str) -> Any:
    """boto3 without anything of ours."""
    return boto3.client("s3", endpoint_url=url)


def new_location(url: str, prefix: str = "tables/of-a-test") -> Location:
    """An empty bucket of its own."""
    bucket = f"test-{os.getpid()}-{time.time_ns()}-{next(_numbers)}"
    client(url).create_bucket(Bucket=bucket)
    return Location(bucket, prefix, endpoint_url=url)


def keys(location: Location) -> list[str]:
    """Every key in the bucket, hidden ones too."""
    listed = client(str(location.endpoint_url)).list_objects_v2(Bucket=location.bucket)
    return [each["Key"] for each in listed.get("Contents", ())]
