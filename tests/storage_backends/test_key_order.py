from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from storage_backends import key_order
from storage_backends.contract.rows import arrow, row
from storage_backends.key_order import in_key_order
from storage_backends.schema import TABLES

if TYPE_CHECKING:
    import pyarrow as pa

    from storage_backends.schema import Table

ROOT = Path(__file__).parents[2]

SMALL = st.integers(0, 3)
KINDS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "gaps": st.fixed_dictionaries({"at": SMALL, "revision": SMALL, "detected_ns": SMALL}),
    "events": st.fixed_dictionaries({"at": SMALL, "sequence": SMALL}),
    "klines": st.fixed_dictionaries({"at": SMALL, "interval": st.sampled_from(["1m", "é", "1h"])}),
    "depth": st.fixed_dictionaries({"at": SMALL, "valid": st.booleans(), "recv_ns": st.none() | SMALL}),
    "multitick": st.fixed_dictionaries({"at": SMALL, "tick": st.sampled_from([0.1, 1.0])}),
}


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_few_rows_come_out_as_many_do(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(KINDS)))
    table = TABLES[name]
    made = data.draw(st.lists(KINDS[name], min_size=1, max_size=12))
    # A column beside tells rows apart that are equal in all that decides.
    rows = numbered(arrow(name, [row(name, **each) for each in made]))
    assert in_key_order(table, rows).to_pylist() == by_arrow(table, rows).to_pylist()


def numbered(rows: pa.Table) -> pa.Table:
    return rows.append_column("number", [list(range(len(rows)))])


def by_arrow(table: Table, rows: pa.Table) -> pa.Table:
    order = [*((name, "ascending") for name in table.key), *table.prefer]
    return key_order._many_in_key_order(table, rows, order)


def test_rows_in_order_are_not_copied() -> None:
    rows = arrow("gaps", [row("gaps", 1, revision=0), row("gaps", 1, revision=1), row("gaps", 2, revision=0)])
    assert in_key_order(TABLES["gaps"], rows) is rows


WRITES = """
import sys
from pathlib import Path
from storage_backends.contract.rows import arrow, row
from storage_backends.hot import HotStore
from storage_backends.interface import Market
from storage_backends.local import LocalBackend

folder, market = Path(sys.argv[1]), Market("binanceusdm", "BTCUSDT")
store, hot = LocalBackend(folder), HotStore(folder)
for table in ("diffs", "depth", "trades", "gaps", "events", "features", "bars"):
    for turn in range(2):
        rows = arrow(table, [row(table, at) for at in (5 * turn + 2, 5 * turn + 1, 5 * turn + 3)])
        store.write(table, market, rows, writer="w", content_hash=f"{turn:08x}")
        hot.extend(table, market, rows)
    assert sum(len(rows) for rows in store.scan(table, market)) == 6
    assert store.stats(table, market).rows == 6
    assert len(hot.read_hot(table, market)) == 6
print(*({"pyarrow.compute", "pyarrow.dataset", "zstandard", "pandas"} & set(sys.modules)))
"""


def test_a_collector_pays_for_nothing_to_compute_with(tmp_path: Path) -> None:
    code = "from collector.lean_pyarrow import without_pandas\nwithout_pandas()\n" + WRITES
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "\n"
