"""Stores that tests of several backends ask for."""

import functools
import os
from collections.abc import Iterator
from typing import Any

import pytest

from storage_backends import s3_client
from storage_backends.s3_client import Location, _connect
from tests.storage_backends import s3_server


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """An S3 store, with credentials for it in the environment."""
    with s3_server.store() as url:
        yield url


@functools.cache
def _client(endpoint_url: str, region: str | None, key: str | None, secret: str | None) -> Any:
    return _connect(Location("any-bucket", region=region, endpoint_url=endpoint_url))


def _shared(location: Location) -> Any:
    """A client that knows no bucket. Making one takes boto3 a tenth of a second, most of it to read what S3 is."""
    keys = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    return _client(str(location.endpoint_url), location.region, *keys)


@pytest.fixture
def location(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Location:
    """A place in an empty bucket of that store."""
    monkeypatch.setattr(s3_client, "_connect", _shared)
    return s3_server.new_location(s3_url)
