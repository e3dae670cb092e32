"""What a store may answer, and what is made of it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from storage_backends import s3_client
from storage_backends.contract import got, put
from storage_backends.contract.rows import rows
from storage_backends.errors import PermanentBackendError, SetupError, StorageFull, TransientBackendError
from storage_backends.s3 import S3Backend
from storage_backends.s3_client import Location
from tests.storage_backends.s3_proxy import S3Proxy
from tests.storage_backends.s3_server import keys


@pytest.mark.parametrize(
    ("status", "code", "kind", "mend"),
    [
        (503, "SlowDown", TransientBackendError, "SlowDown"),
        (500, "InternalError", TransientBackendError, "InternalError"),
        (409, "ConditionalRequestConflict", TransientBackendError, "Conflict"),
        (403, "ExpiredToken", SetupError, "AWS_PROFILE"),
        (403, "InvalidAccessKeyId", SetupError, "AWS_ACCESS_KEY_ID"),
        (403, "AccessDenied", SetupError, "s3:PutObject"),
        (403, "RequestTimeTooSkewed", SetupError, "clock"),
        (404, "NoSuchBucket", SetupError, "--s3-bucket"),
        (400, "AuthorizationHeaderMalformed", SetupError, "--s3-region"),
        (507, "XMinioStorageFull", StorageFull, "make room"),
        (400, "EntityTooLarge", PermanentBackendError, "EntityTooLarge"),
    ],
)
def test_every_answer_is_told_apart_and_says_what_to_mend(
    backend: S3Backend, between: S3Proxy, status: int, code: str, kind: type[Exception], mend: str
) -> None:
    between.fault = lambda method, path: ("answer", status, code, {"Retry-After": "7"}) if method == "PUT" else None
    with pytest.raises(kind, match=mend) as caught:
        put(backend, "trades", rows("trades", range(3)))
    assert type(caught.value) is kind
    if kind is TransientBackendError:
        assert caught.value.retry_after_s == 7.0  # type: ignore[attr-defined]


def test_a_store_that_nobody_answers_for(location: Location, between: S3Proxy) -> None:
    away = S3Backend(replace(location, endpoint_url="http://127.0.0.1:9"))
    with pytest.raises(TransientBackendError, match="--s3-endpoint-url"):
        put(away, "trades", rows("trades", [1]))


def test_a_bucket_that_is_not_there_is_named(location: Location) -> None:
    nowhere = S3Backend(replace(location, bucket="never-made"))
    for ask in (nowhere.check, nowhere.markets, lambda: put(nowhere, "trades", rows("trades", [1]))):
        with pytest.raises(SetupError, match=r"s3://never-made.*--s3-bucket"):
            ask()


def test_credentials_are_looked_up_anew_once(
    backend: S3Backend, between: S3Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected = []
    connect = s3_client._connect
    monkeypatch.setattr(s3_client, "_connect", lambda location: connected.append(1) or connect(location))
    answers = iter(["ExpiredToken"])

    def expired_once(method: str, path: str) -> tuple[object, ...] | None:
        return ("answer", 403, "ExpiredToken", {}) if next(answers, None) else None

    between.fault = expired_once
    put(backend, "trades", rows("trades", range(3)))
    assert len(connected) == 2
    between.fault = lambda method, path: ("answer", 403, "ExpiredToken", {})
    with pytest.raises(SetupError):
        put(backend, "trades", rows("trades", range(3, 5)))
    assert len(connected) == 3


def test_no_credentials_at_all(location: Location, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(SetupError, match="AWS_PROFILE"):
        S3Backend(replace(location, region="eu-west-1")).check()


def test_reads_are_repeated_while_what_fails_passes(backend: S3Backend, between: S3Proxy) -> None:
    put(backend, "trades", rows("trades", range(3)))
    numbers = itertools.count()
    faults: list[tuple[object, ...]] = [("answer", 503, "SlowDown", {}), ("commit and drop",), ("answer", 500, "X", {})]
    between.fault = lambda method, path: faults[number] if (number := next(numbers)) < 3 else None
    assert got(backend, "trades") == rows("trades", range(3))
    between.fault = lambda method, path: ("answer", 503, "SlowDown", {})
    with pytest.raises(TransientBackendError, match="SlowDown"):
        got(backend, "trades")


def test_checking_may_be_forbidden_to_delete(backend: S3Backend, between: S3Proxy, location: Location) -> None:
    backend.check()
    assert keys(location) == []
    between.fault = lambda method, path: ("answer", 403, "AccessDenied", {}) if method == "DELETE" else None
    backend.check()
    assert keys(location) == ["tables/of-a-test/.check"]
    assert backend.markets() == []
