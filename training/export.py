"""Tables of a store as files for training and for other tools.

`plan` divides the time into ranges, `export_range` turns one range into one file: two plain functions, which a pool of
processes runs here and Apache Beam (`beam`) elsewhere. A file is there whole or not at all and depends on the rows
alone, so a run that was stopped goes on with the ranges that are missing.
"""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from storage_backends.schema import bare, known
from training import timecolumn
from training.errors import TrainingError
from training.files import SETTINGS_KEY, read_json, replacing, write_json
from training.flatten import SETTINGS, Flat, flat_names, flatten, inputs_of, joined, table_of
from training.store import market_in, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    from storage_backends.interface import Backend, Market
    from storage_backends.settings import StoreSettings

MANIFEST: Final = "_export.json"
"""Readers of folders pass over names that begin with an underscore."""
_LADDER: Final = {"books"}
_FOR_EVER: Final = 2**63 - 1


class Range(NamedTuple):
    """Times [start_ns, end_ns)."""

    start_ns: int
    end_ns: int


@dataclass(frozen=True)
class Spec:
    """What to export; plain values, so that it travels to other processes and machines.

    Either `table`, one table as it is stored, or `datasets`: the rows of the first, and on each of them the newest
    known values of the others, whose columns are called `name.column`.
    """

    store: StoreSettings
    market: Market
    start_ns: int
    end_ns: int
    range_ns: int
    output: str
    table: str | None = None
    datasets: tuple[str, ...] = ()
    sizes: tuple[tuple[str, tuple[tuple[str, int], ...]], ...] = ()
    """Per data set, how many columns each of its lists becomes."""
    periods_ns: tuple[tuple[str, int], ...] = ()
    settings: tuple[tuple[str, dict[str, Any]], ...] = ()
    """Per data set, what its first row says of how rows are made; all rows of it must say the same."""

    def sizes_of(self, dataset: str) -> dict[str, int]:
        return dict(dict(self.sizes)[dataset])

    def period_ns(self, dataset: str) -> int:
        return dict(self.periods_ns)[dataset]


def specify(
    store: StoreSettings,
    *,
    exchange: str | None,
    symbol: str | None,
    output: Path,
    table: str | None,
    datasets: tuple[str, ...],
    start_ns: int | None,
    end_ns: int | None,
    range_s: float,
    levels: int,
) -> Spec:
    """Looks into the store and settles what is to be exported.

    An `output` that a run with the same wishes began keeps that run's ends, though rows may have come since.

    Raises:
        TrainingError: no such market, table or rows, or `output` holds another export.
    """
    with opened(store) as backend:
        definition = known(table) if table is not None else table_of(datasets[0])
        market = market_in(backend, definition.name, exchange, symbol)
        stats = backend.stats(definition.name, market)
        if stats.first_ns is None or stats.last_ns is None:
            raise TrainingError(f"table {definition.name} of {market.exchange} {market.symbol} holds no rows")
        wishes = {
            "market": list(market),
            "table": table,
            "datasets": list(datasets),
            "start_ns": start_ns,
            "end_ns": end_ns,
            "range_s": range_s,
            "levels": levels,
        }
        begun = _begun(output, wishes)
        first_ns, last_ns = begun if begun is not None else (stats.first_ns, stats.last_ns)
        spec = Spec(
            store=store,
            market=market,
            start_ns=first_ns if start_ns is None else max(start_ns, first_ns),
            end_ns=last_ns + 1 if end_ns is None else min(end_ns, last_ns + 1),
            range_ns=max(1, round(range_s * 1e9)),
            output=str(output),
            table=table,
            datasets=datasets,
            sizes=tuple((name, _sizes(backend, market, name, levels)) for name in datasets),
            periods_ns=tuple((name, _period_ns(backend, market, name)) for name in datasets),
        )
        if spec.end_ns <= spec.start_ns:
            raise TrainingError("--from: no rows between --from and --to")
        spec = replace(spec, settings=tuple((name, _settings(backend, spec, name)) for name in datasets))
    output.mkdir(parents=True, exist_ok=True)
    ends = {"first_ns": first_ns, "last_ns": last_ns}
    write_json(output / MANIFEST, {**wishes, **ends, "columns": columns_of(spec)})
    return spec


def plan(spec: Spec) -> list[Range]:
    """The ranges of a spec: cut at whole multiples of its range length, whatever the start."""
    first = spec.start_ns // spec.range_ns * spec.range_ns
    edges = [*range(first, spec.end_ns, spec.range_ns), spec.end_ns]
    return [Range(max(start, spec.start_ns), end) for start, end in pairwise(edges)]


def file_name(part: Range) -> str:
    """The name of the file of a range; names sort by time."""
    return f"part-{part.start_ns:019d}-{part.end_ns:019d}.parquet"


def columns_of(spec: Spec) -> list[str]:
    """The columns of the files."""
    if spec.table is not None:
        return list(known(spec.table).schema.names)
    names = ["timestamp"]
    for number, dataset in enumerate(spec.datasets):
        prefix = f"{dataset}." if number else ""
        names += [prefix + name for name in flat_names(table_of(dataset), spec.sizes_of(dataset))]
    return [*names, "valid"]


def export_range(spec: Spec, part: Range) -> int:
    """Writes the file of one range, unless it is there already; gives its number of rows.

    Raises:
        TrainingError: the store cannot be read.
        MachineFailed: the disk failed.
    """
    import pyarrow.parquet as pq

    path = Path(spec.output) / file_name(part)
    if path.exists():
        return int(pq.read_metadata(path).num_rows)
    rows = 0
    with opened(spec.store) as backend, replacing(path) as unfinished:
        schema, batches = (
            _as_stored(backend, spec, part) if spec.table is not None else _for_training(backend, spec, part)
        )
        with pq.ParquetWriter(unfinished, schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)
                rows += batch.num_rows
    return rows


def export_all(spec: Spec, workers: int, done: Callable[[int], object]) -> int:
    """Exports all ranges with so many processes; gives the number of rows. `done` hears of each range.

    Raises as `export_range`.
    """
    parts = plan(spec)
    total = 0
    if workers <= 1 or len(parts) == 1:
        for part in parts:
            rows = export_range(spec, part)
            total += rows
            done(rows)
        return total
    # Not forked: a backend may hold threads and connections.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(parts)), mp_context=context) as pool:
        waiting = [pool.submit(export_range, spec, part) for part in parts]
        for one in as_completed(waiting):
            rows = one.result()
            total += rows
            done(rows)
    return total


def _as_stored(backend: Backend, spec: Spec, part: Range) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    assert spec.table is not None
    batches = backend.scan(spec.table, spec.market, part.start_ns, part.end_ns)
    return bare(known(spec.table).schema), batches


def _for_training(backend: Backend, spec: Spec, part: Range) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    import pyarrow as pa

    names = columns_of(spec)
    numbers = [pa.field(name, pa.float64()) for name in names[1:-1]]
    settings = {table_of(name).name: values for name, values in spec.settings}
    schema = pa.schema(
        [pa.field("timestamp", pa.int64()), *numbers, pa.field("valid", pa.bool_())],
        metadata={SETTINGS_KEY: json.dumps(settings)},
    )
    return schema, _joined_batches(backend, spec, part, schema)


def _joined_batches(backend: Backend, spec: Spec, part: Range, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    base, *others = spec.datasets
    sides = {name: _scan_flat(backend, spec, name, part, spec.period_ns(name)) for name in others}
    gaps = gap_times(backend, spec.market, None if "features" in spec.datasets else "depth")
    period_ns = spec.period_ns(base)
    for flat in _flats(backend, spec, base, part):
        columns = dict(flat.columns)
        for name in others:
            found = joined(flat.time_ns, sides[name], spec.period_ns(name))
            columns |= {f"{name}.{column}": values for column, values in found.items()}
        valid = flat.valid & ~in_gap(flat.time_ns, period_ns, gaps)
        arrays = [pa.array(flat.time_ns // 1_000_000), *(pa.array(one) for one in columns.values()), pa.array(valid)]
        yield pa.record_batch(arrays, schema=schema)


def _flats(backend: Backend, spec: Spec, dataset: str, part: Range) -> Iterator[Flat]:
    table = table_of(dataset)
    sizes = spec.sizes_of(dataset)
    settings = dict(spec.settings)[dataset]
    needed = dict.fromkeys([table.time, *inputs_of(table), *(["valid"] if "valid" in table.schema.names else [])])
    for batch in backend.scan(table.name, spec.market, part.start_ns, part.end_ns, [*needed, *settings]):
        _require_same(table.name, batch, settings)
        yield flatten(table, batch, sizes)


def _settings(backend: Backend, spec: Spec, dataset: str) -> dict[str, Any]:
    """How the rows of a data set were made, as the first one says."""
    table = table_of(dataset).name
    for batch in backend.scan(table, spec.market, spec.start_ns, spec.end_ns, SETTINGS[table]):
        if batch.num_rows:
            return {name: batch.column(name)[0].as_py() for name in SETTINGS[table]}
    return {}


def _require_same(table: str, batch: pa.RecordBatch, settings: dict[str, Any]) -> None:
    import pyarrow.compute as pc

    for name, value in settings.items():
        others = [other for other in pc.unique(batch.column(name)).to_pylist() if other != value]
        if others:
            mend = "recompute them, or choose" if table == "features" else "choose"
            raise TrainingError(
                f"table {table}: has rows with {name} {value} and with {others[0]}, which do not mix; {mend} --from "
                "and --to"
            )


def _scan_flat(backend: Backend, spec: Spec, dataset: str, part: Range, before_ns: int) -> Flat:
    """All rows of a joined data set that a range can need."""
    found = list(_flats(backend, spec, dataset, Range(part.start_ns - before_ns, part.end_ns)))
    names = flat_names(table_of(dataset), spec.sizes_of(dataset))
    if not found:
        return Flat(np.empty(0, np.int64), np.empty(0, np.bool_), {name: np.empty(0) for name in names})
    return Flat(
        np.concatenate([one.time_ns for one in found]),
        np.concatenate([one.valid for one in found]),
        {name: np.concatenate([one.columns[name] for one in found]) for name in names},
    )


def gap_times(backend: Backend, market: Market, stream: str | None) -> NDArray[np.int64]:
    """The gaps of a stream, or of any, as (gaps, 2) times in ns, [from, to).

    Healed ones too: the rows that were made meanwhile did not know what came to light later.
    """
    import pyarrow.compute as pc

    from storage_backends.reading import newest_revisions, read

    gaps = newest_revisions(read(backend, "gaps", market, columns=["gap_id", "stream", "from_ns", "to_ns"]))
    if stream is not None:
        gaps = gaps.filter(pc.equal(gaps.column("stream"), stream))
    if not len(gaps):
        return np.empty((0, 2), np.int64)
    ends = gaps.column("to_ns").fill_null(_FOR_EVER).to_numpy()
    return np.stack([gaps.column("from_ns").to_numpy(), ends], axis=1)


def in_gap(time_ns: NDArray[np.int64], period_ns: int, gaps: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether something of the period before each time lies in a gap: the row of T tells of [T - period, T)."""
    inside = np.zeros(len(time_ns), np.bool_)
    for start, end in gaps:
        inside |= (time_ns > start) & (time_ns - period_ns < max(end, start + 1))
    return inside


def _sizes(backend: Backend, market: Market, dataset: str, levels: int) -> tuple[tuple[str, int], ...]:
    import pyarrow as pa

    table = table_of(dataset)
    lists = [name for name in inputs_of(table) if pa.types.is_list(table.schema.field(name).type)]
    if table.name in _LADDER:
        return tuple((name, levels) for name in lists)
    longest = dict.fromkeys(lists, 0)
    for batch in backend.scan(table.name, market, columns=lists) if lists else ():
        for name in lists:
            lengths = batch.column(name).value_lengths()
            longest[name] = max(longest[name], int(pa.compute.max(lengths).as_py() or 0))
        if all(longest.values()):
            break
    return tuple(longest.items())


def _period_ns(backend: Backend, market: Market, dataset: str) -> int:
    table = table_of(dataset)
    times = backend.scan(table.name, market, columns=[table.time])
    try:
        return timecolumn.find_period((batch.column(0).to_numpy() * table.ns_per_unit for batch in times), 10_000)
    except TrainingError as error:
        raise TrainingError(f"table {table.name} of {market.exchange} {market.symbol}: {error}") from error


def _begun(output: Path, wishes: dict[str, Any]) -> tuple[int, int] | None:
    """First and last time of the export that is in `output` already."""
    if not (output / MANIFEST).exists():
        if output.is_dir() and any(output.glob("*.parquet")):
            raise TrainingError(f"--output {output}: holds Parquet files that are no export; name another folder")
        return None
    saved = read_json(output / MANIFEST, "export")
    for key, wish in wishes.items():
        if saved.get(key) != wish:
            raise TrainingError(
                f"--output {output}: holds an export with {key} {saved.get(key)}, wanted is {wish}; name another folder"
            )
    return saved["first_ns"], saved["last_ns"]
