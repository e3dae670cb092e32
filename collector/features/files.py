"""Rows of features as one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from collector.core.batch import Batch
from collector.errors import ConfigurationError


def write_file(batches: Sequence[Batch], path: Path) -> None:
    """Writes rows of table `features` as Parquet or CSV, by the name's suffix.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    import pyarrow.csv
    import pyarrow.parquet

    from collector.journal.arrow import to_arrow

    rows = to_arrow(batches)
    try:
        if path.suffix == ".csv":
            pyarrow.csv.write_csv(rows, path)
        else:
            pyarrow.parquet.write_table(rows, path)
    except OSError as error:
        raise ConfigurationError("--out", path, f"cannot be written: {error.strerror}") from error
