"""Parquet files as a source of rows, whoever wrote them; read in batches, so that any size fits."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from training import timecolumn
from training.dataset import Rows
from training.errors import TrainingError
from training.files import SETTINGS_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

BATCH_ROWS: Final = 65_536
VALID: Final = "valid"
"""A boolean column of this name says which rows count."""


class ParquetSource:
    """One file, or all of a folder, in the order of their first times.

    Raises (constructor):
        TrainingError: no file, one that is not Parquet, or files of different columns or without a time column.
    """

    def __init__(self, path: Path, time_column: str | None = None) -> None:
        files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        files = [file for file in files if not file.name.startswith((".", "_"))]
        if not files or not files[0].is_file():
            raise TrainingError(f"--parquet-path {path}: is no Parquet file and no folder of such")
        self.path = path
        self.rows = 0
        starts: list[tuple[int, Path]] = []
        schema: pa.Schema | None = None
        for file in files:
            with _opened(file) as opened:
                if not opened.metadata.num_rows:
                    continue
                found: pa.Schema = opened.schema_arrow
                if schema is None:
                    schema, self.time_column = found, timecolumn.find(found, time_column)
                elif settings_in(found) != settings_in(schema):
                    raise TrainingError(
                        f"--parquet-path {path}: {file.name} is of rows with settings {settings_in(found)}, and "
                        f"{starts[0][1].name} of {settings_in(schema)}; train on one kind"
                    )
                elif found.names != schema.names:
                    raise TrainingError(
                        f"--parquet-path {path}: {file.name} has other columns than {starts[0][1].name}"
                    )
                first = next(opened.iter_batches(1, columns=[self.time_column]))
                starts.append((int(timecolumn.to_ns(first.column(0), self.time_column)[0]), file))
                self.rows += opened.metadata.num_rows
        if schema is None:
            raise TrainingError(f"--parquet-path {path}: holds no rows")
        self.schema: pa.Schema = schema
        self.settings = settings_in(schema)
        """How the rows were made, by table, as an export notes; None in files of others."""
        self._files = [file for _, file in sorted(starts)]

    def check(self, option: str, names: Sequence[str]) -> None:
        """Whether the columns are there and hold numbers.

        Raises:
            TrainingError: one is not, with the nearest name that is.
        """
        import pyarrow as pa

        for name in names:
            if name not in self.schema.names:
                near = difflib.get_close_matches(name, self.schema.names, n=1, cutoff=0.4)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(self.schema.names)}"
                raise TrainingError(f"{option} {name}: is not a column of {self.path}; {hint}")
            kind = self.schema.field(name).type
            if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
                mend = "export the table first" if pa.types.is_nested(kind) else "choose columns of numbers"
                raise TrainingError(f"{option} {name}: is {kind} in {self.path}; {mend}")

    def numeric(self) -> list[str]:
        """All columns that could be features: numbers other than the time and `valid`."""
        import pyarrow as pa

        return [
            field.name
            for field in self.schema
            if field.name not in (self.time_column, VALID)
            and (pa.types.is_floating(field.type) or pa.types.is_integer(field.type))
        ]

    def period_ns(self) -> int:
        """The period of the rows. Raises TrainingError when there is none."""
        return timecolumn.find_period(
            timecolumn.to_ns(batch.column(0), self.time_column) for batch in self._batches([self.time_column])
        )

    def read(self, features: Sequence[str], targets: Sequence[str]) -> Iterator[Rows]:
        """The rows in order, in batches."""
        has_valid = VALID in self.schema.names
        needed = list(dict.fromkeys([self.time_column, *features, *targets, *([VALID] if has_valid else [])]))
        for batch in self._batches(needed):
            valid = np.ones(batch.num_rows, np.bool_)
            if has_valid:
                valid = _numbers(batch.column(VALID)) == 1.0
            yield Rows(
                timecolumn.to_ns(batch.column(self.time_column), self.time_column),
                _matrix(batch, features),
                _matrix(batch, targets),
                valid,
            )

    def _batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for file in self._files:
            with _opened(file) as opened:
                try:
                    yield from opened.iter_batches(BATCH_ROWS, columns=list(columns))
                except (OSError, ValueError) as error:
                    raise TrainingError(f"{file}: is damaged: {error}") from error


def settings_in(schema: pa.Schema) -> dict[str, Any] | None:
    """What an export noted of how rows were made; None where nothing is."""
    noted = (schema.metadata or {}).get(SETTINGS_KEY.encode())
    try:
        found = None if noted is None else json.loads(noted)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _opened(file: Path) -> pa.parquet.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Buffering ahead would hold the whole file.
        return pq.ParquetFile(file, pre_buffer=False, memory_map=False)
    except (OSError, pa.ArrowInvalid) as error:
        raise TrainingError(f"{file}: is not a Parquet file: {error}") from error


def _matrix(batch: pa.RecordBatch, names: Sequence[str]) -> NDArray[np.float64]:
    values = np.empty((batch.num_rows, len(names)))
    for at, name in enumerate(names):
        values[:, at] = _numbers(batch.column(name))
    return values


def _numbers(column: pa.Array) -> NDArray[np.float64]:
    """As float64, with NaN for null."""
    import pyarrow as pa

    numbers: NDArray[np.float64] = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return numbers
