"""The data set `features`: alone, joined to depth without look-ahead, and from every kind of store alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from storage_backends.interface import Backend, Market
from storage_backends.open import open_store
from storage_backends.schema import bare, known
from storage_backends.settings import StoreSettings
from tests.bigtable_emulator import emulator_host, options, settings_of
from tests.storage_backends import s3_server
from training.cli import training
from training.errors import TrainingError
from training.parquet import ParquetSource

__all__ = ["emulator_host", "options"]

MARKET = Market("binanceusdm", "BTCUSDT")
START_S = 1_768_053_600
NS = 1_000_000_000
ROWS = 90
LABEL = "custom@01234567"


def write(backend: Backend, table: str, made: list[dict[str, Any]]) -> None:
    schema = bare(known(table).schema)
    rows = pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in made], schema=schema)
    digest = hashlib.sha256(repr(made).encode()).hexdigest()
    backend.write(table, MARKET, rows, writer="test", content_hash=digest)


def feature_row(at: int, **changes: Any) -> dict[str, Any]:
    mid = 60_000.0 + at
    row = {"epoch": START_S + at, "feature_set": LABEL, "valid": True, "num_features": 3, "mid": mid}
    return {**row, "cvd": None if at < 5 else float(at), "spread_bps": 0.1, **changes}


def depth_row(at: int) -> dict[str, Any]:
    best = {"best_bid": 60_000.0 + at, "best_ask": 60_001.0 + at, "price": 60_000.5 + at}
    made = {"step_pct": 0.00002, "num_steps": 2, "ref": "best", "valid": True}
    return {"epoch": START_S + at, **best, "bid_buckets": [1.0, float(at)], "ask_buckets": [2.0, None], **made}


def fill(settings: StoreSettings, features: list[dict[str, Any]]) -> None:
    """A minute and a half of depth and features, with a gap of trades in it."""
    backend = open_store(settings)
    write(backend, "depth", [depth_row(at) for at in range(ROWS)])
    write(backend, "features", features)
    gap = {"gap_id": "a", "revision": 1, "stream": "trades", "reason": "disconnect", "healed": False}
    span = {"from_ns": (START_S + 40) * NS + 1, "to_ns": (START_S + 41) * NS + 1, "detected_ns": (START_S + 40) * NS}
    write(backend, "gaps", [{**gap, **span}])
    backend.close()


def export(output: Path, *words: object) -> pd.DataFrame:
    done = CliRunner().invoke(training, ["export", "--no-progress", "--output", str(output), *map(str, words)])
    if isinstance(done.exception, TrainingError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return pq.read_table(sorted(output.glob("*.parquet"))).to_pandas()


@pytest.fixture
def local(tmp_path: Path) -> StoreSettings:
    settings = StoreSettings(data_dir=tmp_path / "data")
    fill(settings, [feature_row(at) for at in range(ROWS)])
    return settings


def test_features_become_columns_and_a_gap_of_any_stream_is_told(local: StoreSettings, tmp_path: Path) -> None:
    table = export(tmp_path / "out", "--dataset", "features", "--data-dir", local.data_dir)
    assert table.timestamp.tolist() == [1000 * (START_S + at) for at in range(ROWS)]
    assert {"mid", "cvd", "spread_bps", "valid"} <= set(table.columns)
    assert not {"epoch", "feature_set", "num_features_0"} & set(table.columns)
    assert table.mid.tolist() == [60_000.0 + at for at in range(ROWS)]
    assert table.cvd.isna().tolist() == [at < 5 for at in range(ROWS)]
    assert np.flatnonzero(~table.valid).tolist() == [41, 42]  # what was received in (40 s, 41 s] stands in both
    assert ParquetSource(tmp_path / "out").settings == {"features": {"feature_set": LABEL}}


def test_joined_features_are_those_known_at_the_row(local: StoreSettings, tmp_path: Path) -> None:
    other = StoreSettings(data_dir=tmp_path / "other")
    changed = 50
    rows = [feature_row(at) for at in range(ROWS)]
    rows[20]["valid"] = False
    rows = [row for at, row in enumerate(rows) if at != 30]
    fill(other, [row if row["epoch"] < START_S + changed else {**row, "mid": 1.0, "cvd": 1.0} for row in rows])
    words = ("--dataset", "depth", "features", "--data-dir")
    table = export(tmp_path / "one", *words, local.data_dir)
    assert table["features.mid"].tolist() == [60_000.0 + at for at in range(ROWS)]
    assert table.price.tolist() == [60_000.5 + at for at in range(ROWS)]
    assert np.flatnonzero(~table.valid).tolist() == [41, 42]
    again = export(tmp_path / "two", *words, other.data_dir)
    # Features of 50 s and later are others there: no row before knows of it, and the row of 50 s does.
    assert np.flatnonzero(again["features.mid"] == 1.0).tolist() == list(range(changed, ROWS))
    same = [at for at in range(changed) if at not in (20, 30)]
    pd.testing.assert_frame_equal(again.iloc[same], table.iloc[same])
    assert again["features.mid"].iloc[[20, 30]].isna().all()  # not valid, and missing: nothing older stands in


def test_rows_of_several_feature_sets_are_not_mixed(tmp_path: Path) -> None:
    settings = StoreSettings(data_dir=tmp_path / "data")
    fill(settings, [feature_row(at, feature_set=LABEL if at < 60 else "all@89abcdef") for at in range(ROWS)])
    words = ("--dataset", "features", "--data-dir", settings.data_dir)
    with pytest.raises(TrainingError, match=r"feature_set custom@01234567 and with all@89abcdef, which do not mix"):
        export(tmp_path / "out", *words)
    until = "2026-01-10T14:00:30Z"
    assert len(export(tmp_path / "part", *words, "--end", until)) == 30


@pytest.fixture
def s3() -> Iterator[StoreSettings]:
    with s3_server.store() as url:
        place = s3_server.new_location(url)
        yield StoreSettings(backend="s3", s3_bucket=place.bucket, s3_prefix=place.prefix, s3_endpoint_url=url)


def flags(settings: StoreSettings) -> list[str]:
    named = ("s3_bucket", "s3_prefix", "s3_endpoint_url", "bigtable_project_id", "bigtable_instance_id")
    given = {name: getattr(settings, name) for name in ("backend", *named, "bigtable_emulator_host")}
    return [word for name, value in given.items() if value for word in (f"--{name.replace('_', '-')}", str(value))]


def check_same(settings: StoreSettings, local: StoreSettings, tmp_path: Path) -> None:
    """The same rows in another store give the same bytes."""
    fill(settings, [feature_row(at) for at in range(ROWS)])
    words = ("--dataset", "depth", "features")
    export(tmp_path / "near", *words, "--data-dir", local.data_dir)
    export(tmp_path / "far", *words, *flags(settings))
    near, far = (
        {path.name: path.read_bytes() for path in (tmp_path / side).glob("*.parquet")} for side in ("near", "far")
    )
    assert near
    assert near == far


def test_from_s3(s3: StoreSettings, local: StoreSettings, tmp_path: Path) -> None:
    check_same(s3, local, tmp_path)


def test_from_bigtable(options: Any, local: StoreSettings, tmp_path: Path) -> None:
    check_same(settings_of(options), local, tmp_path)
