"""A store as one word: `local:PATH`, `s3://BUCKET/PREFIX`, `bigtable:PROJECT/INSTANCE`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from storage_backends.settings import StoreSettings

FORMS = "local:PATH, s3://BUCKET/PREFIX or bigtable:PROJECT/INSTANCE"


def settings_of(text: str, others: StoreSettings) -> StoreSettings:
    """The settings of the store that `text` names; what a word cannot say, a region or an endpoint, is as in `others`.

    Raises:
        ValueError: it names none; says how one is named.
    """
    if text.startswith("s3://"):
        bucket, _, prefix = text.removeprefix("s3://").partition("/")
        if bucket:
            return replace(others, backend="s3", s3_bucket=bucket, s3_prefix=prefix)
    kind, colon, rest = text.partition(":")
    if kind == "local" and rest:
        return replace(others, backend="local", data_dir=Path(rest))
    project, slash, instance = rest.partition("/")
    if kind == "bigtable" and colon and project and slash and instance:
        return replace(others, backend="bigtable", bigtable_project_id=project, bigtable_instance_id=instance)
    raise ValueError(f"names no store; give {FORMS}")
