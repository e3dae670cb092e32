"""Stores that tests of several backends ask for."""

import functools
from collections.abc import Iterator

import pytest

from storage_backends import s3_client
from storage_backends.s3_client import Location
from tests.storage_backends import s3_server


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """An S3 store, with credentials for it in the environment."""
    with s3_server.store() as url:
        yield url


@pytest.fixture
def location(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Location:
    """A place in an empty bucket of that store. Making a client takes boto3 a tenth of a second, so one is shared."""
    connect = functools.cache(s3_client._connect)
    monkeypatch.setattr(s3_client, "_connect", connect)
    return s3_server.new_location(s3_url)
