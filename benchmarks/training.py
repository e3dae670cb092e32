"""How fast the training reads and learns, and that its memory does not grow with the data.

    python benchmarks/training.py [--json]

Dense training (a label at every row) stands beside what most scripts do, a Dataset of windows in a DataLoader: the
same network, data, precision and thread, in one run, in labels per second of CPU time. Export reads a store of made
depth rows. Memory is the most anonymous memory of a process that builds a memory map from Parquet and trains an epoch,
for two sizes of data; of the growth of the data at most a tenth may show. The stepper's is the resident memory of a
process of its own, with the interpreter and NumPy, after an hour of steps at 10 Hz; a step's CPU time is that thread's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.utils.data import DataLoader, Dataset

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # before this folder, whose file has the package's name

from storage_backends.interface import Market
from storage_backends.open import open_backend
from storage_backends.schema import bare, known
from storage_backends.settings import StoreSettings
from training.artifacts import describe, weights_of, write_npz
from training.batches import chunk_rows, chunks, load_inputs, load_labels
from training.columns import columns_of
from training.config import Config
from training.dataset import build, open_dataset
from training.export import export_all, specify
from training.model import Forecaster
from training.parquet import ParquetSource

REACH = 50
WINDOW = 100
FEATURES = ("best_bid_price", "best_ask_price", "mid_price", *(f"x_{at}" for at in range(5)))
WIDE = 40
STEPPER_REACH_MB = 40
STEPPER_REACH_MS = 1.0
STEPPER = """
import sys
import time

def resident_mb():
    lines = open("/proc/self/status").read().splitlines()
    return max(int(line.split()[1]) for line in lines if line.startswith(("VmRSS", "VmHWM"))) * 1024 / 1e6

sizes = [resident_mb()]
import numpy
sizes.append(resident_mb())
from training.stepper import Stepper
stepper = Stepper(sys.argv[1])
took = numpy.empty(36_000)
for at in range(36_000):
    row = {name: 60_000 + (at * 7919 + place) % 101 * 0.1 for place, name in enumerate(stepper.needed)}
    began = time.thread_time_ns()
    made = stepper.step(row, 1_768_054_365_000_000_000 + at * stepper.period_ns)
    took[at] = (time.thread_time_ns() - began) / 1e6
assert made is not None
assert "torch" not in sys.modules
sizes.append(resident_mb())
print(*sizes, *numpy.quantile(took, [0.5, 0.99]))
"""
"""Prints resident memory at most (MB): bare, with NumPy, after the steps; and CPU time a step (ms): median, p99."""


def made_rows(rows: int, extra: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    mid = 60_000 * np.exp(np.cumsum(rng.standard_normal(rows)) * 1e-5)
    book = {"best_bid_price": mid - 0.05, "best_ask_price": mid + 0.05, "mid_price": mid}
    return {**book, **{f"x_{at}": rng.standard_normal(rows) for at in range(extra)}}


class Windows(Dataset):
    """What most scripts do: item t is the window that ends at t, and its label."""

    def __init__(self, inputs: np.ndarray, labels: np.ndarray) -> None:
        self.inputs = torch.from_numpy(np.array(inputs))
        self.labels = torch.from_numpy(labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, at: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inputs[at : at + WINDOW].T, self.labels[at]


def labels_per_s(folder: Path, seconds: float) -> dict[str, float]:
    """Both pipelines for about as long: loading, forward, backward, step."""
    torch.set_num_threads(1)
    rows = made_rows(200_000, 5)
    rows["timestamp"] = 1_768_054_365_000 + 100 * np.arange(200_000)
    pq.write_table(pa.table(rows), folder / "rows.parquet")
    source = ParquetSource(folder / "rows.parquet")
    targets = ("mid_price",)
    columns = columns_of(FEATURES, targets)
    dataset = build(source.read(FEATURES, targets), folder / "dataset", columns, targets, source.period_ns())
    config = Config(features=FEATURES, targets=targets, horizons=(1, 5, 10), batch_size=4096)
    context = config.network_field - 1
    found = {}

    def learn(
        model: Forecaster, optimizer: torch.optim.Optimizer, inputs: torch.Tensor, labels: torch.Tensor, last: int
    ):
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.huber_loss(model(inputs, normalised=True)[..., last:], labels, delta=4.0)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    def fresh() -> tuple[Forecaster, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = Forecaster(config).train()
        return model, torch.optim.AdamW(model.parameters(), 1e-3)

    model, optimizer = fresh()
    size = chunk_rows(config.batch_size)
    order = chunks(np.array([[context, len(dataset) - 10]]), size, np.random.default_rng(0))
    count, began = 0, time.process_time()
    for at in range(0, len(order), config.batch_size // size):
        part = order[at : at + config.batch_size // size]
        inputs = torch.from_numpy(np.ascontiguousarray(load_inputs(dataset, part, context)))
        labels = torch.from_numpy(load_labels(dataset, part, config)).float().nan_to_num()
        learn(model, optimizer, inputs, labels, context)
        count += int(part[:, 1].sum())
        if time.process_time() - began > seconds:
            break
    found["dense"] = count / (time.process_time() - began)

    model, optimizer = fresh()
    ends = np.array([[WINDOW - 1, len(dataset) - WINDOW - 10]])
    labels = load_labels(dataset, ends, config)[0].T.astype(np.float32)
    loader = DataLoader(Windows(dataset.inputs, labels), batch_size=512, shuffle=True)
    count, began = 0, time.process_time()
    for inputs, wanted in loader:
        learn(model, optimizer, inputs, wanted[..., None], WINDOW - 1)
        count += len(wanted)
        if time.process_time() - began > seconds:
            break
    found["windows"] = count / (time.process_time() - began)
    found["ratio"] = found["dense"] / found["windows"]
    return found


def export_rate(folder: Path, rows: int = 100_000) -> float:
    """Rows of depth, 80 buckets each, from local Parquet to flat Parquet, per second of CPU time."""
    rng = np.random.default_rng(0)
    mid = 60_000 + np.cumsum(rng.integers(-1, 2, rows)) * 0.1
    buckets = pa.FixedSizeListArray.from_arrays(pa.array(rng.random(rows * 40).astype(np.float32)), 40)
    schema = bare(known("depth").schema)
    given = {
        "epoch": pa.array(1_768_054_365 + np.arange(rows)),
        **{name: pa.array(mid) for name in ("best_bid", "best_ask", "price")},
        **{name: buckets.cast(schema.field(name).type) for name in ("bid_buckets", "ask_buckets")},
        "step_pct": pa.array(np.full(rows, 0.00002)),
        "num_steps": pa.array(np.full(rows, 40, np.int32)),
        "ref": pa.array(["best"] * rows),
        "valid": pa.array(np.ones(rows, bool)),
    }
    arrays = [given.get(field.name, pa.nulls(rows, field.type)).cast(field.type) for field in schema]
    table = pa.Table.from_arrays(arrays, schema=schema)
    store = folder / "data"
    open_backend("local", store).write(
        "depth", Market("binanceusdm", "BTCUSDT"), table, writer="benchmark", content_hash="0" * 64
    )
    began = time.process_time()
    spec = specify(
        StoreSettings(data_dir=store),
        exchange=None,
        symbol=None,
        output=folder / "export",
        table=None,
        datasets=("depth",),
        start_ns=None,
        end_ns=None,
        range_s=3600.0,
        levels=25,
    )
    assert export_all(spec, 1, lambda _: None) == rows
    return rows / (time.process_time() - began)


def peak_memory_mb(folder: Path, rows: int) -> tuple[float, float]:
    """Size of the memory map, and the most anonymous memory of `train` on it, both in MB."""
    path = folder / f"wide-{rows}.parquet"
    piece = 100_000
    writer = None
    last = 0
    for number in range(rows // piece):
        columns = made_rows(piece, WIDE, number)
        columns["timestamp"] = 1_768_054_365_000 + 100 * (last + np.arange(piece))
        last += piece
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()
    output = folder / f"models-{rows}"
    command = [
        *(sys.executable, "-m", "training", "train", "--parquet-path", path, "--epochs", "1", "--folds", "1"),
        *("--channels", "4", "--levels", "1", "--kernel", "2", "--input-length", "5", "--forecast-horizon", "1"),
        *("--batch-size", "16384", "--no-progress", "--output-dir", output),
    ]
    process = subprocess.Popen([str(part) for part in command], cwd=ROOT, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        line = next((one for one in status.splitlines() if one.startswith("RssAnon")), None)
        peak = max(peak, int(line.split()[1]) if line else 0)
        time.sleep(0.02)
    if process.wait():
        raise SystemExit("train failed")
    size = sum(file.stat().st_size for file in (output / "dataset").iterdir())
    assert len(open_dataset(output / "dataset")) > 0.99 * rows
    path.unlink()
    return size / 1e6, peak * 1024 / 1e6


def stepper_figures(folder: Path) -> list[float]:
    """What `STEPPER` prints of a model of the default size."""
    torch.manual_seed(0)
    columns = columns_of(FEATURES, ("mid_price",))
    config = Config(features=FEATURES, targets=("mid_price",), horizons=tuple(range(1, 11)))
    rows = made_rows(1000, 5)
    rows["timestamp"] = 1_768_054_365_000 + 100 * np.arange(1000)
    pq.write_table(pa.table(rows), folder / "few.parquet")
    source = ParquetSource(folder / "few.parquet")
    targets = config.targets
    dataset = build(source.read(FEATURES, targets), folder / "few", columns, targets, source.period_ns())
    write_npz(folder / "model.npz", weights_of(Forecaster(config)), describe(config, dataset))
    command = [sys.executable, "-c", STEPPER, str(folder / "model.npz")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [float(size) for size in done.stdout.split()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    parser.add_argument("--seconds", type=float, default=20.0, help="CPU time for each pipeline")
    chosen = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        speed = labels_per_s(folder, chosen.seconds)
        rate = export_rate(folder)
        small, large = peak_memory_mb(folder, 700_000), peak_memory_mb(folder, 2_500_000)
        bare_mb, numpy_mb, stepper_mb, median_ms, p99_ms = stepper_figures(folder)
    light = stepper_mb <= STEPPER_REACH_MB and p99_ms < STEPPER_REACH_MS
    flat = large[1] - small[1] <= 0.1 * (large[0] - small[0])
    if chosen.json:
        memory = {"small": small, "large": large, "flat": flat}
        stepper = {"bare_mb": bare_mb, "numpy_mb": numpy_mb, "mb": stepper_mb, "p50_ms": median_ms, "p99_ms": p99_ms}
        found = {"labels_per_cpu_s": speed, "export_rows_per_cpu_s": rate, "memory_mb": memory, "stepper": stepper}
        print(json.dumps(found))
    else:
        verdict = "reached" if speed["ratio"] >= REACH else "NOT reached"
        print(f"dense training            {speed['dense']:>12,.0f} labels per CPU-second")
        print(f"Dataset and DataLoader    {speed['windows']:>12,.0f}")
        print(f"ratio                     {speed['ratio']:>12,.0f} x   reach {REACH}: {verdict}")
        print(f"export of depth           {rate:>12,.0f} rows per CPU-second")
        for size, peak in (small, large):
            print(f"data of {size:>7,.0f} MB        {peak:>12,.0f} MB of anonymous memory at most")
        print(f"memory does not grow with the data: {'true' if flat else 'FALSE'}")
        print(
            f"process with the stepper  {stepper_mb:>12.1f} MB resident; {numpy_mb:.1f} of them with NumPy alone, ",
            end="",
        )
        print(f"{bare_mb:.1f} bare")
        print(f"a step of it              {p99_ms:>12.2f} ms of CPU at p99, {median_ms:.2f} in the median")
        reach = f"reach {STEPPER_REACH_MB} MB and {STEPPER_REACH_MS:g} ms"
        print(f"{reach}: {'reached' if light else 'NOT reached'}")
    return 0 if flat and light and speed["ratio"] >= REACH else 1


if __name__ == "__main__":
    sys.exit(main())
