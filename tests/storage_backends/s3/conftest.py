"""A backend on S3, with a proxy before the store that does what a test asks of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import tenacity

from storage_backends.s3 import S3Backend
from storage_backends.s3_client import Location
from tests.storage_backends.s3_proxy import S3Proxy, proxy


@pytest.fixture
def between(location: Location, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Proxy]:
    """A proxy before the store. Reads are repeated without pauses."""
    monkeypatch.setattr(tenacity.nap.time, "sleep", lambda _: None)
    with proxy(str(location.endpoint_url)) as made:
        yield made


@pytest.fixture
def backend(location: Location, between: S3Proxy) -> S3Backend:
    return S3Backend(replace(location, endpoint_url=between.url))
