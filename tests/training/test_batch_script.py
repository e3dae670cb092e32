"""infra/batch/export_and_train.sh, started as cron does: from another folder, with next to no environment."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path

from tests.training.test_export import add, depth_row

SCRIPT = Path(__file__).parents[2] / "infra/batch/export_and_train.sh"


def job(folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    variables = {
        "JOB_SYMBOL": "BTCUSDT",
        "JOB_DAYS": "2",
        "JOB_WORK": str(folder / "work"),
        "JOB_RESULTS": str(folder / "models"),
        "JOB_TRAIN": "--epochs 1 --folds 1 --input-length 20 --forecast-horizon 5 --channels 4",
        "COLLECTOR_DATA_DIR": str(folder / "data"),
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        **more,
    }
    return subprocess.run(["/bin/sh", SCRIPT], cwd=folder, env=variables, capture_output=True, text=True, check=False)


def test_a_night_of_the_job_and_the_same_night_again(tmp_path: Path) -> None:
    today = datetime.datetime.now(datetime.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    begin = int(today.timestamp()) - 7200
    known = {"bid_buckets": [1.0, 2.0, 3.0], "bid_coverage": 0.001, "ask_coverage": 0.001}
    add(tmp_path / "data", "depth", [depth_row(epoch, **known) for epoch in range(begin, begin + 3600)])
    for _ in range(2):
        done = job(tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "models of BTCUSDT are in" in done.stdout
    (day,) = (tmp_path / "models").iterdir()
    assert list(day.glob("*.npz"))
    kept = [path.name for path in (tmp_path / "work").iterdir()]
    assert all(name.endswith(day.name) or name == "models" for name in kept)


def test_it_asks_for_the_market(tmp_path: Path) -> None:
    done = job(tmp_path, JOB_SYMBOL="")
    assert done.returncode == 2
    assert "such as BTCUSDT" in done.stderr
