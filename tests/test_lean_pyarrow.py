"""A process that only writes does not pay for pandas, nor for another allocator."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=True)


CONVERT = """
import sys
import pyarrow as pa
assert pa.array([1, None]).to_pylist() == [1, None]
assert pa.array(['x']).type == pa.string()
"""


def test_pyarrow_would_import_pandas() -> None:
    """If not, the module is not needed any more."""
    run(CONVERT + "assert 'pandas' in sys.modules")


def test_pandas_stays_out_and_can_still_be_imported() -> None:
    hidden = "from collector.lean_pyarrow import without_pandas\nwithout_pandas()\n"
    run(hidden + CONVERT + "assert 'pandas' not in sys.modules\nimport pandas")


def test_it_leaves_a_process_alone_that_has_pandas() -> None:
    run(
        "import pandas\nfrom collector.lean_pyarrow import without_pandas\nwithout_pandas()\n"
        "import pyarrow as pa\nassert list(pa.array([1]).to_pandas()) == [1]"
    )


def test_the_allocator_is_the_systems_unless_somebody_chose() -> None:
    lean = "from collector.lean_pyarrow import with_system_memory, without_pandas\nwith_system_memory()\n"
    pool = "without_pandas()\nimport pyarrow as pa\nassert pa.default_memory_pool().backend_name == "
    run(lean + pool + "'system'")
    run("import os\nos.environ['ARROW_DEFAULT_MEMORY_POOL'] = 'mimalloc'\n" + lean + pool + "'mimalloc'")
