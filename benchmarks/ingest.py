"""Depth messages per CPU-second from a saturated socket, beside ccxt.pro, cryptofeed and a bare loop in the same run.

    python benchmarks/ingest.py [--messages N] [--rounds N] [--cryptofeed-python PATH] [--json]

The stream is the July USDⓈ-M capture in a loop (see `ingest_stream.py`), sent over loopback as fast as the client
reads: the regime is saturated, where wake-ups of the event loop cost nearly nothing. Slow streams shrink all ratios.
This project runs as `collector run` does: ccxt.pro's socket, tap, core with book, gaps, epochs and buckets, SQLite
journal, Parquet; and once more with nothing behind the journal. The peers keep a book and store nothing. The server is
pinned to one core, the client to another, one client at a time, in turns; CPU time of the client's whole process
counts, from the third message to the end, which for this project is everything in Parquet. Of several rounds the median
counts.

cryptofeed is measured where it can be imported: by this Python, or by that of --cryptofeed-python.
Exit code 1: what this project stored is not what was sent.

--json prints one object: `ratios` (messages per CPU-second of this project over those of `ccxt`, `cryptofeed` and
`bare`; null for one that was not measured).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CAPTURES = Path(os.environ.get("CAPTURE_DIR", HERE.parent / "../shared/data"))
FILES = ("usdm_btcusdt_20240718.gz", "usdm_btcusdt_20240719.gz")
PEERS = {
    "ccxt": "stock ccxt.pro, watch_order_book",
    "cryptofeed": "cryptofeed, deltas to dict",
    "bare": "bare aiohttp, orjson and dicts",
}
REACH = {"ccxt": 2.5, "cryptofeed": 3.0}
_READY_S = 120.0
_CLIENT_S = 300.0


def can_import(python: str, module: str) -> bool:
    """Whether that Python has the module."""
    done = subprocess.run([python, "-c", f"import {module}"], capture_output=True, timeout=60, check=False)
    return done.returncode == 0


def start_server(plan: Path, messages: int, captures: list[Path], core: int) -> subprocess.Popen[bytes]:
    """The server, ready: it wrote `plan`."""
    server = subprocess.Popen([sys.executable, HERE / "ingest_server.py", plan, str(messages), *captures])
    os.sched_setaffinity(server.pid, {core})
    ends_s = time.monotonic() + _READY_S
    while not plan.exists():
        if server.poll() is not None or time.monotonic() > ends_s:
            server.kill()
            raise SystemExit("the server did not start")
        time.sleep(0.1)
    return server


def measure(name: str, python: str, plan: Path, core: int) -> dict[str, Any]:
    """One client from start to end."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [python, HERE / "ingest_clients.py", name, plan, Path(folder) / "data"],
            env={**os.environ, "PYTHONPATH": str(HERE.parent), "PYTHONWARNINGS": "ignore"},
            capture_output=True,
            text=True,
            timeout=_CLIENT_S,
            check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
    if done.returncode != 0:
        raise SystemExit(f"{name} failed:\n{done.stderr[-4000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures | {"per_cpu_s": figures["messages"] / figures["cpu_s"]}


def wrongs(figures: dict[str, Any], plan: dict[str, Any]) -> list[str]:
    """What the collector's store, or its journal, lacks."""
    seconds = (max(plan["event_ms"]) - plan["event_ms"][0]) // 1000
    found = []
    if figures["diffs"] != len(plan["ids"]):
        found.append(f"{figures['diffs']} diffs are stored of {len(plan['ids'])}")
    if figures["gaps"]:
        found.append(f"{figures['gaps']} gaps")
    valid = figures.get("valid", figures["depth"])
    if figures["depth"] < seconds or valid < seconds - 2:
        found.append(f"{valid} valid of {figures['depth']} epochs in {seconds} s")
    return found


def ratios(median: dict[str, dict[str, Any]]) -> dict[str, float | None]:
    """How many times the messages of each peer this project takes in a CPU-second."""
    ours = median["collector"]["per_cpu_s"]
    return {name: round(ours / median[name]["per_cpu_s"], 3) if name in median else None for name in PEERS}


def table(median: dict[str, dict[str, Any]], rounds: dict[str, list[float]]) -> str:
    """The results for people."""
    lines = [f"{'':<52}{'msg/CPU-s':>10}{'µs/msg':>8}{'wall s':>8}{'peak MB':>9}   rounds"]
    ours = {
        "collector": "this project: book, epochs, journal, Parquet",
        "journal": "this project, to the journal only",
    }
    names = ours | PEERS
    hint = " (see --cryptofeed-python)"
    for name, label in names.items():
        if name in median:
            one = median[name]
            spread = " ".join(f"{value / 1000:.1f}k" for value in rounds[name])
            lines.append(
                f"{label:<52}{one['per_cpu_s']:>10,.0f}{1e6 / one['per_cpu_s']:>8.1f}{one['wall_s']:>8.2f}"
                f"{one['peak_mb']:>9.0f}   {spread}"
            )
        else:
            lines.append(f"{label:<52}not installed here: not measured{hint if name == 'cryptofeed' else ''}")
    for name, ratio in ratios(median).items():
        if ratio is not None:
            line = f"ratio to {PEERS[name]}: {ratio:.2f}"
            if name in REACH:
                line += f" (reach {REACH[name]}: {'reached' if ratio >= REACH[name] else 'NOT reached'})"
            lines.append(line)
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--messages", type=int, default=120_000, help="messages a client takes")
    parser.add_argument("--rounds", type=int, default=3, help="times that each client is measured")
    parser.add_argument("--cryptofeed-python", default=sys.executable, help="a Python that has cryptofeed")
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    chosen = parser.parse_args()
    captures = [CAPTURES / name for name in FILES]
    if not all(path.exists() for path in captures):
        raise SystemExit(f"no {' and '.join(FILES)} in {CAPTURES}; set CAPTURE_DIR to the folder of real captures")
    pythons = dict.fromkeys(("collector", "journal", "ccxt"), sys.executable)
    if can_import(chosen.cryptofeed_python, "cryptofeed"):
        pythons["cryptofeed"] = chosen.cryptofeed_python
    if can_import(sys.executable, "orjson"):
        pythons["bare"] = sys.executable
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        plan_file = Path(folder) / "plan.json"
        server = start_server(plan_file, chosen.messages, captures, cores[0])
        try:
            results: dict[str, list[dict[str, Any]]] = {name: [] for name in pythons}
            for _ in range(chosen.rounds):
                for name, python in pythons.items():
                    results[name].append(measure(name, python, plan_file, cores[-1]))
        finally:
            server.kill()
            server.wait()
        plan = json.loads(plan_file.read_text())
    rounds = {name: [one["per_cpu_s"] for one in several] for name, several in results.items()}
    median = {
        name: min(several, key=lambda one: abs(one["per_cpu_s"] - statistics.median_low(rounds[name])))
        for name, several in results.items()
    }
    wrong = [text for name in ("collector", "journal") for one in results[name] for text in wrongs(one, plan)]
    if chosen.json:
        print(json.dumps({"ratios": ratios(median)}))
    else:
        ours = median["collector"]
        print(
            f"{chosen.messages:,} messages, {plan['levels']:.0f} levels and {plan['bytes']:,.0f} bytes on average, "
            f"saturated loopback socket; server on core {cores[0]}, client on core {cores[-1]}\n"
            f"stored: {ours['diffs']:,} diffs, {ours['depth']:,} epochs, {ours['valid']:,} of them valid, "
            f"{ours['gaps']} gaps, {ours['parquet_bytes'] / ours['diffs']:,.0f} bytes a diff\n"
        )
        print(table(median, rounds))
    for text in wrong:
        print(f"WRONG: {text}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
