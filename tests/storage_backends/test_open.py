from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage_backends.contract import MARKET, got, put
from storage_backends.contract.rows import rows
from storage_backends.errors import PermanentBackendError
from storage_backends.interface import Market, TableStats
from storage_backends.open import open_backend


@pytest.mark.parametrize(
    ("name", "problem"),
    [("redis", "not known"), ("", "not")],
)
def test_other_backends_are_refused_with_the_choices(name: str, problem: str) -> None:
    with pytest.raises(ValueError, match=rf"{problem}.*--backend.*local, .*or none"):
        open_backend(name)


def test_opening_touches_nothing(tmp_path: Path) -> None:
    open_backend("local", tmp_path / "data")
    open_backend("none", tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_none_takes_rows_and_keeps_none() -> None:
    backend = open_backend("none")
    put(backend, "trades", rows("trades", range(3)))
    assert got(backend, "trades") == []
    assert backend.markets() == []
    assert backend.tables(MARKET) == []
    assert backend.stats("trades", MARKET) == TableStats(0, 0, 0, None, None, None, None)
    backend.check()
    backend.close()
    with pytest.raises(PermanentBackendError, match="symbol"):
        put(backend, "trades", rows("trades", [1]), market=Market("binance", "../x"))


def test_a_dry_run_imports_no_arrow() -> None:
    program = (
        "import sys; from storage_backends.open import open_backend; open_backend('none').check();"
        "import storage_backends.reading, storage_backends.errors; print('pyarrow' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "False"
