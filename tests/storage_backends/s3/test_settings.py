"""Settings of S3, and what opening it costs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from storage_backends.open import open_days, open_store
from storage_backends.settings import StoreSettings


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"s3_bucket": None}, "--s3-bucket"),
        ({"s3_bucket": "Not A Bucket"}, "--s3-bucket 'Not A Bucket'"),
        ({"s3_prefix": "../x"}, "--s3-prefix"),
        ({"s3_endpoint_url": "127.0.0.1:9000"}, "--s3-endpoint-url"),
    ],
)
def test_settings_that_cannot_be_are_named(wrong: dict[str, str], named: str) -> None:
    settings = replace(StoreSettings(backend="s3", s3_bucket="bucket"), **wrong)  # type: ignore[arg-type]
    for opens in (open_store, open_days):
        with pytest.raises(ValueError, match=named):
            opens(settings)


def test_opening_imports_no_boto3() -> None:
    program = (
        "import sys; from storage_backends.open import open_store; from storage_backends.settings import StoreSettings;"
        "open_store(StoreSettings(backend='s3', s3_bucket='bucket')); print('boto3' in sys.modules)"
    )
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={"PYTHONPATH": root}, check=True
    )
    assert done.stdout.strip() == "False"
