"""Table `features`. Its columns are listed in `features.csv`, which only ever grows at its end.

The collector writes that file from its registry (`python -m collector features --write-schema`), since this package
knows nothing of the collector. A column whose feature is gone stays, and is null in new rows.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa

from storage_backends.schema.columns import FLOAT, INT, SMALL, TEXT, column, maybe
from storage_backends.schema.table import Table

COLUMNS_FILE: Final = Path(__file__).with_name("features.csv")


class FeatureColumn(NamedTuple):
    """One line of the file; `since` is the version of the table in which the column came."""

    name: str
    unit: str
    doc: str
    since: int


def feature_columns(path: Path = COLUMNS_FILE) -> list[FeatureColumn]:
    """The columns, in order."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            FeatureColumn(line["name"], line["unit"], line["doc"], int(line["since"])) for line in csv.DictReader(file)
        ]


_COLUMNS = feature_columns()

FEATURES = Table(
    "features",
    pa.schema(
        [
            column("epoch", INT, "s, computed from what was received before this second and nothing after"),
            column("feature_set", TEXT, "name of the set, and a checksum of its features and their versions"),
            column(
                "valid", pa.bool_(), "the book is in sync, connected, in no open gap and fresh, as known when written"
            ),
            column("num_features", SMALL, "how many features were computed, null ones included"),
            *(maybe(one.name, FLOAT, f"{one.unit}; {one.doc}") for one in _COLUMNS),
        ]
    ),
    key=("epoch",),
    time="epoch",
    time_unit="s",
    version=max(one.since for one in _COLUMNS),
    description="derived features; null where a feature was not chosen, is not warm yet, or lies in a gap",
    # Rows that were computed afterwards, of a larger set, count more than those of the live run.
    prefer=(("valid", "descending"), ("num_features", "descending"), ("feature_set", "ascending")),
)
