"""Rows as the training reads them: a memory map on disk, row-major, and the segments that windows must stay inside.

A folder of four files. `inputs.f32` (rows, columns) and `prices.f64` (rows, targets) are plain numbers in the byte
order of x86 and ARM, `time_ns.i64` the times, `dataset.json` everything else: columns and what was done to them,
period, segments, counts, and the fingerprint, a hash of all of it. Only rows that are valid and complete are kept; what
is left out ends a segment.

numpy.memmap(folder / "inputs.f32", "<f4").reshape(-1, columns) reads it in any program.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from training.columns import Column, prepare
from training.errors import TrainingError
from training.files import read_json, replacing_folder, write_json
from training.segments import contiguous

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

META: Final = "dataset.json"
_FORMAT: Final = 1


@dataclass(frozen=True)
class Rows:
    """Some rows of a source, in ascending time. `values` (rows, columns), `prices` (rows, targets), as stored."""

    time_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    prices: NDArray[np.float64]
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class Dataset:
    """What `build` wrote. The arrays are memory maps: reading a slice costs that slice."""

    folder: Path
    columns: tuple[Column, ...]
    targets: tuple[str, ...]
    period_ns: int
    segments: NDArray[np.int64]
    fingerprint: str
    counts: dict[str, Any]
    inputs: NDArray[np.float32]
    prices: NDArray[np.float64]
    time_ns: NDArray[np.int64]
    settings: dict[str, Any] | None = None
    """How the rows were made, by table; None where that is not known."""

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(column.name for column in self.columns)


class _Writer:
    """Takes rows in order; keeps what it needs of the last one."""

    def __init__(
        self,
        folder: Path,
        columns: Sequence[Column],
        targets: Sequence[str],
        period_ns: int,
        settings: dict[str, Any] | None,
    ) -> None:
        self.settings = settings
        self.columns = columns
        self.targets = targets
        self.period_ns = period_ns
        self.starts: list[int] = []
        self.rows = self.read = self.invalid = self.breaks = 0
        self.missing = dict.fromkeys((*(column.name for column in columns), *targets), 0)
        self._files = {name: (folder / name).open("wb") for name in ("inputs.f32", "prices.f64", "time_ns.i64")}
        self._hashes = {name: hashlib.sha256() for name in self._files}
        self._last_ns: int | None = None
        self._last_prices = np.full((1, len(targets)), np.nan)
        self._last_usable = False

    def add(self, rows: Rows) -> None:
        """Raises TrainingError when time does not go forward."""
        count = len(rows.time_ns)
        if not count:
            return
        time_ns = rows.time_ns if self._last_ns is None else np.concatenate([[self._last_ns], rows.time_ns])
        self._check_order(time_ns, count)
        follows = contiguous(time_ns, self.period_ns)[-count:]
        priced = rows.valid & np.isfinite(rows.prices).all(1) & (rows.prices > 0).all(1)
        known = np.where(priced[:, None], rows.prices, np.nan)
        before = np.concatenate([self._last_prices, known[:-1]])
        before[~follows] = np.nan
        inputs = prepare(self.columns, self.targets, rows.values, rows.prices, before)
        finite = np.isfinite(inputs)
        usable = priced & finite.all(1)
        self._count(rows, follows, finite)
        joined = follows & usable & np.concatenate([[self._last_usable], usable[:-1]])
        places = self.rows + np.cumsum(usable) - 1
        for place in places[usable & ~joined]:
            self.starts.append(int(place))
        self._write("inputs.f32", inputs[usable].astype("<f4"))
        self._write("prices.f64", rows.prices[usable].astype("<f8"))
        self._write("time_ns.i64", rows.time_ns[usable].astype("<i8"))
        self.rows += int(usable.sum())
        self._last_ns, self._last_prices, self._last_usable = int(rows.time_ns[-1]), known[-1:], bool(usable[-1])

    def _check_order(self, time_ns: NDArray[np.int64], count: int) -> None:
        backwards = np.flatnonzero(np.diff(time_ns) <= 0)
        if len(backwards):
            row = self.read + int(backwards[0]) + (1 if len(time_ns) == count else 0)
            raise TrainingError(f"row {row:,}: its time is not after the one before; sort the rows by time, one a time")

    def _count(self, rows: Rows, follows: NDArray[np.bool_], finite: NDArray[np.bool_]) -> None:
        self.breaks += int((~follows).sum()) - (self._last_ns is None)
        self.read += len(rows.time_ns)
        self.invalid += int((~rows.valid).sum())
        for at, column in enumerate(self.columns):
            self.missing[column.name] += int((rows.valid & ~np.isfinite(rows.values[:, at])).sum())
        for at, name in enumerate(self.targets):
            self.missing[name] += int((rows.valid & ~np.isfinite(rows.prices[:, at])).sum())

    def _write(self, name: str, array: NDArray[Any]) -> None:
        data = np.ascontiguousarray(array).tobytes()
        self._files[name].write(data)
        self._hashes[name].update(data)

    def meta(self) -> dict[str, Any]:
        """What `dataset.json` holds."""
        meta: dict[str, Any] = {
            "format": _FORMAT,
            "columns": [list(column) for column in self.columns],
            "targets": list(self.targets),
            "period_ns": self.period_ns,
            "rows": self.rows,
            "segments": [list(ends) for ends in pairwise([*self.starts, self.rows])],
        }
        if self.settings is not None:
            meta["settings"] = self.settings
        whole = hashlib.sha256(json.dumps(meta).encode())
        for name in sorted(self._hashes):
            whole.update(self._hashes[name].digest())
        meta["fingerprint"] = whole.hexdigest()
        meta["counts"] = {
            "rows_read": self.read,
            "rows_invalid": self.invalid,
            "time_breaks": self.breaks,
            "missing": {name: count for name, count in self.missing.items() if count},
        }
        return meta

    def close(self) -> None:
        for file in self._files.values():
            file.close()


def build(
    batches: Iterable[Rows],
    folder: Path,
    columns: Sequence[Column],
    targets: Sequence[str],
    period_ns: int,
    settings: dict[str, Any] | None = None,
) -> Dataset:
    """Writes the usable rows of `batches` to `folder` and opens it. Memory stays bounded by one batch.

    The same rows give the same bytes and fingerprint, however they are cut into batches.

    Raises:
        TrainingError: time does not go forward, or no row is usable; says why.
    """
    with replacing_folder(folder, META) as unfinished:
        writer = _Writer(unfinished, columns, targets, period_ns, settings)
        try:
            for rows in batches:
                writer.add(rows)
        finally:
            writer.close()
        meta = writer.meta()
        if not writer.rows:
            raise TrainingError(f"no usable row: {_why_none(meta['counts'])}")
        write_json(unfinished / META, meta)
    return open_dataset(folder)


def _why_none(counts: dict[str, Any]) -> str:
    read = counts["rows_read"]
    if counts["rows_invalid"] == read:
        return f"all of {read:,} rows are invalid or lie in gaps"
    empty = [name for name, missing in counts["missing"].items() if missing >= read - counts["rows_invalid"]]
    if empty:
        return f"{', '.join(empty)} has no value in any valid row of {read:,}; leave it out of --features"
    return (
        f"each of {read:,} rows is invalid, incomplete or stands alone; missing values: {counts['missing'] or 'none'}"
    )


def open_dataset(folder: Path) -> Dataset:
    """Opens what `build` wrote.

    Raises:
        TrainingError: not there, damaged, or of a later version.
    """
    meta = read_json(folder / META, "data set")
    try:
        if meta["format"] != _FORMAT:
            raise TrainingError(
                f"{folder}: is of format {meta['format']}, and this version reads {_FORMAT}; export anew"
            )
        columns = tuple(Column(*column) for column in meta["columns"])
        targets = tuple(meta["targets"])
        rows = meta["rows"]
        return Dataset(
            folder=folder,
            columns=columns,
            targets=targets,
            period_ns=meta["period_ns"],
            segments=np.array(meta["segments"], np.int64).reshape(-1, 2),
            fingerprint=meta["fingerprint"],
            counts=meta["counts"],
            inputs=np.memmap(folder / "inputs.f32", "<f4", "r", shape=(rows, len(columns))),
            prices=np.memmap(folder / "prices.f64", "<f8", "r", shape=(rows, len(targets))),
            time_ns=np.memmap(folder / "time_ns.i64", "<i8", "r", shape=(rows,)),
            settings=meta.get("settings"),
        )
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise TrainingError(f"{folder}: is damaged ({error}); export or train anew") from error
