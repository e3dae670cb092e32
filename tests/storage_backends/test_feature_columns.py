"""The columns of table `features` only ever grow at their end. Files of every version tell what they were."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from storage_backends.schema import TABLES
from storage_backends.schema.features import FEATURES, feature_columns

VERSIONS = Path(__file__).with_name("versions")


@pytest.mark.parametrize("version", range(1, FEATURES.version + 1))
def test_no_column_disappears_or_moves(version: int) -> None:
    stored = list(json.loads((VERSIONS / f"v{version}" / "features.json").read_text())[0])
    assert FEATURES.schema.names[: len(stored)] == stored
    expected = [one.name for one in feature_columns() if one.since <= version]
    assert stored == [*FEATURES.schema.names[:4], *expected]


def test_the_file_is_in_order() -> None:
    columns = feature_columns()
    assert Counter(one.name for one in columns).most_common(1)[0][1] == 1
    assert [one.since for one in columns] == sorted(one.since for one in columns)
    assert columns[0].since == 1
    assert all(one.unit and one.doc for one in columns)
    assert TABLES["features"] is FEATURES
