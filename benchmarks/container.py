"""The image, built and run: 50 markets in a container with a quarter of a CPU and 1 GB, stopped, and started again.

    python benchmarks/container.py [--markets N] [--seconds S] [--backend local|bigtable] [--json]

`run.sh` builds the image from the Dockerfile and runs it, as users do: not root, read-only root, one data volume. The
made-up markets of `collector simulate` send depth at 100 ms, trades and best prices from outside. Measured: the image's
size, the time from `run.sh` to the first row of each market, memory, CPU, and the lag of each depth message from the
exchange's event time to its receive stamp. Then the container is stopped, which must exit 0 within 30 s, and started
again, which must go on: the only gaps are those of the time between. Into Bigtable, rows must be no older than some
seconds when they are there, and all of them there when it has stopped; files are written each five minutes, and a
quarter of a CPU may not write the last ones within the time of a stop: they wait in the journal. The lag is told, not
judged: the limits of the container hold for it alone, and a busy machine lets it wait as well.

Without a Docker engine one is made with `local_docker.sh`, as root on Debian, and removed again unless
`--docker-folder` says where to keep it. `--backend bigtable` writes to Google's emulator, which is started for it.
Exit code 0: all of this held; 1: something did not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from markets import CPU_SHARE, Child, stored

from collector.simulator.instruments import simulated
from storage_backends.interface import Backend, Market
from storage_backends.open import open_store
from storage_backends.settings import StoreSettings

ROOT = Path(__file__).parents[1]
NAME = f"collector-benchmark-{os.getpid()}"
USER = 10001
STOP_WITHIN_S = 30
CURRENT_WITHIN_S = 10
_START_S = 180.0
_SETTLE_S = 5.0
_RUNS_TO_DELIVER = 10
_PROJECT, _INSTANCE = "benchmark", "benchmark"


def docker(*arguments: str) -> str:
    """Output of a docker command."""
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout.strip()


@contextlib.contextmanager
def engine(folder: Path | None) -> Iterator[None]:
    """A Docker engine: the machine's own, or one made for this."""
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0:
        yield
        return
    script = str(ROOT / "benchmarks/local_docker.sh")
    place = folder or Path(tempfile.mkdtemp(prefix="collector-docker-"))
    os.environ["DOCKER_HOST"] = f"unix://{place.resolve()}/docker.sock"
    # The newer builder is a plugin of the client, which may be missing; the older one is in the engine.
    os.environ["DOCKER_BUILDKIT"] = "0"
    os.environ["DEPTH_COLLECTOR_BASE"] = "localhost/python-base"
    try:
        subprocess.run([script, "start", str(place)], check=True, stdout=sys.stderr)
        yield
    finally:
        subprocess.run([script, "stop" if folder else "remove", str(place)], check=True)


@contextlib.contextmanager
def bigtable() -> Iterator[None]:
    """Google's emulator on loopback, with our tables, and the environment that leads to it."""
    root = subprocess.run(
        ["gcloud", "info", "--format=value(installation.sdk_root)"], capture_output=True, text=True, check=False
    ).stdout.strip()
    binary = shutil.which("cbtemulator") or f"{root}/platform/bigtable-emulator/cbtemulator"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    emulator = subprocess.Popen([binary, "-host", "127.0.0.1", "-port", str(port)], stdout=sys.stderr)
    os.environ |= {
        "BIGTABLE_EMULATOR_HOST": f"127.0.0.1:{port}",
        "BIGTABLE_PROJECT_ID": _PROJECT,
        "BIGTABLE_INSTANCE_ID": _INSTANCE,
    }
    try:
        time.sleep(1)
        create = [sys.executable, "-m", "collector", "tables", "create", "--backend", "bigtable"]
        subprocess.run(create, check=True, cwd=ROOT, stdout=sys.stderr)
        yield
    finally:
        emulator.terminate()
        emulator.wait(10)


class Container:
    """The collector through `run.sh`."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        self._options = options
        os.environ |= {
            "DEPTH_COLLECTOR_NAME": NAME,
            "DEPTH_COLLECTOR_DATA": str(folder),
            "DEPTH_COLLECTOR_NETWORK": "host",
            "DEPTH_COLLECTOR_CPUS": str(CPU_SHARE),
            "DEPTH_COLLECTOR_MEMORY": "1g",
            "DEPTH_COLLECTOR_FIRST_LINES_S": "1",
        }

    def start(self, ready: str) -> float:
        """Seconds from `docker run` to a line with `ready`."""
        subprocess.run(["./run.sh", *self._options], check=True, cwd=ROOT, stdout=sys.stderr)
        ends_s = time.monotonic() + _START_S
        while time.monotonic() < ends_s:
            lines = docker("logs", "--timestamps", NAME).splitlines()
            for line in lines:
                if ready in line:
                    return _seconds(line) - _seconds(docker("inspect", "--format", "{{.State.StartedAt}}", NAME))
            time.sleep(0.2)
        raise SystemExit(f"{ready!r} did not come:\n" + "\n".join(lines[-20:]))

    def pid(self) -> int:
        """Of its process, as this machine counts."""
        return int(docker("inspect", "--format", "{{.State.Pid}}", NAME))

    def cpu_s(self) -> float:
        """CPU time so far."""
        fields = Path(f"/proc/{self.pid()}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_mb(self) -> float:
        """The most memory that was resident."""
        status = Path(f"/proc/{self.pid()}/status").read_text().splitlines()
        return next(int(row.split()[1]) for row in status if row.startswith("VmHWM")) / 1024

    def health(self) -> str:
        """`healthy`, once Docker has asked."""
        ends_s = time.monotonic() + 70
        while (state := docker("inspect", "--format", "{{.State.Health.Status}}", NAME)) == "starting":
            if time.monotonic() > ends_s:
                break
            time.sleep(1)
        return state

    def stop(self) -> tuple[int, float, str]:
        """Exit code, seconds, and its last words."""
        began_s = time.monotonic()
        code = subprocess.run(["./run.sh", "stop"], check=False, cwd=ROOT, stdout=sys.stderr).returncode
        took_s = time.monotonic() - began_s
        return code, took_s, docker("logs", "--tail", "1", NAME)

    def remove(self) -> None:
        """Whatever became of it."""
        subprocess.run(["docker", "rm", "--force", NAME], capture_output=True, check=False)


def _seconds(text: str) -> float:
    """Of the time that Docker writes, with nanoseconds, at the start of `text`."""
    from datetime import datetime

    whole, _, fraction = text.split(maxsplit=1)[0].rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")


def measure(markets: int, seconds: float, backend: str, folder: Path) -> dict[str, Any]:
    """Everything above, as figures."""
    os.chown(folder, USER, USER)
    simulator = Child("simulate", "--symbols", str(markets), core=min(os.sched_getaffinity(0)))
    url = simulator.wait_for("ready").split()[1]
    names = [Market("binanceusdm", one.symbol) for one in simulated("binanceusdm", markets)]
    symbols = [part for market in names for part in ("--symbol", market.symbol)]
    container = Container(folder, [*symbols, "--url-root", url, "--anchor-limit", "100", "--backend", backend])
    ready = f"{markets} of {markets} markets valid" if markets > 4 else "bids:"
    try:
        start_s = container.start(ready)
        time.sleep(_SETTLE_S)
        began_ns, began_s, cpu_s = time.time_ns(), time.monotonic(), container.cpu_s()
        health = container.health()
        time.sleep(max(0.0, began_s + seconds - time.monotonic()))
        cpu_percent = 100 * (container.cpu_s() - cpu_s) / (time.monotonic() - began_s)
        ended_ns, peak_mb = time.time_ns(), container.peak_mb()
        behind_s = _behind_s(_open(backend, folder), names) if backend == "bigtable" else None
        inspected = json.loads(docker("inspect", NAME))[0]
        # The same image again, whatever became of the source meanwhile.
        os.environ["DEPTH_COLLECTOR_IMAGE"] = inspected["Config"]["Image"]
        code, stop_s, last_words = container.stop()
        again_s = container.start(ready)
        time.sleep(_SETTLE_S)
        second_code, *_ = container.stop()
        _deliver_rest([*symbols, "--url-root", url, "--anchor-limit", "100", "--backend", backend], folder)
        store = _open(backend, folder)
        figures = stored(store, began_ns, ended_ns, names)
        return {
            "markets": markets,
            "seconds": seconds,
            "backend": backend,
            "image_mb": int(docker("image", "inspect", "--format", "{{.Size}}", inspected["Image"])) / 1e6,
            "user": inspected["Config"]["User"],
            "read_only": inspected["HostConfig"]["ReadonlyRootfs"],
            "start_s": start_s,
            "health": health,
            "cpu_percent": cpu_percent,
            "peak_mb": peak_mb,
            **{key: value for key, value in figures.items() if key != "gaps"},
            "behind_s": behind_s,
            "exit_code": code,
            "stop_s": stop_s,
            "last_words": last_words,
            "again_s": again_s,
            "second_exit_code": second_code,
            "gap_reasons": _reasons(store, names),
        }
    finally:
        container.remove()
        simulator.stop()


def _open(backend: str, folder: Path) -> Backend:
    return open_store(
        StoreSettings(
            backend=backend,
            data_dir=folder,
            bigtable_project_id=os.environ.get("BIGTABLE_PROJECT_ID"),
            bigtable_instance_id=os.environ.get("BIGTABLE_INSTANCE_ID"),
            bigtable_emulator_host=os.environ.get("BIGTABLE_EMULATOR_HOST"),
        )
    )


def _deliver_rest(options: list[str], folder: Path) -> None:
    """What a stop had no time to deliver on a quarter of a CPU is in the journal; here it gets a whole one."""
    command = [sys.executable, "-m", "collector", "run", "--data-dir", str(folder), *options, "--duration", "2"]
    for _ in range(_RUNS_TO_DELIVER):
        said = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
        print(said, end="", file=sys.stderr)
        if "everything is stored" in said:
            return


def _behind_s(store: Backend, markets: list[Market]) -> float:
    """Age of the newest row of `depth` that the store has, in the market where it is oldest.

    Rows come each second, so it is about two when delivery keeps up.
    """
    from storage_backends.bigtable.backend import BigtableBackend

    assert isinstance(store, BigtableBackend)
    ages_s = []
    for market in markets:
        newest = store.latest("depth", market, 1, ["epoch"])
        ages_s.append(time.time() - newest["epoch"][0].as_py())
    return max(ages_s)


def _reasons(store: Backend, markets: list[Market]) -> dict[str, int]:
    """How many gaps of each reason the store holds."""
    counts: dict[str, int] = {}
    for market in markets:
        for rows in store.scan("gaps", market, columns=["reason"]):
            for reason in rows.column("reason").to_pylist():
                counts[reason] = counts.get(reason, 0) + 1
    return counts


def faults(one: dict[str, Any]) -> list[str]:
    """What did not hold, in words; empty when all did."""
    checks = {
        "it ran as root": one["user"].startswith("0") or not one["user"],
        "its root could be written to": not one["read_only"],
        f"Docker found it {one['health']}": one["health"] != "healthy",
        "epochs are missing": one["epochs"] < one["markets"] * (one["seconds"] - 1),
        f"the newest rows are {one['behind_s']} s old": (one["behind_s"] or 0) > CURRENT_WITHIN_S,
        f"not everything was delivered: {one['last_words']}": one["backend"] == "bigtable"
        and "everything is stored" not in one["last_words"],
        f"stopping gave exit code {one['exit_code']}": one["exit_code"] != 0,
        f"stopping took {one['stop_s']:.0f} s": one["stop_s"] > STOP_WITHIN_S,
        f"the second stop gave exit code {one['second_exit_code']}": one["second_exit_code"] != 0,
        f"gaps other than the restart's: {one['gap_reasons']}": set(one["gap_reasons"]) != {"restart"},
    }
    return [text for text, wrong in checks.items() if wrong]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--markets", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=300.0, help="how long it is measured")
    parser.add_argument("--backend", choices=["local", "bigtable"], default="local")
    parser.add_argument("--docker-folder", type=Path, default=None, help="where a private engine lies, and is kept")
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    chosen = parser.parse_args()
    with contextlib.ExitStack() as stack:
        stack.enter_context(engine(chosen.docker_folder))
        if chosen.backend == "bigtable":
            stack.enter_context(bigtable())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="collector-data-"))
        one = measure(chosen.markets, chosen.seconds, chosen.backend, Path(folder))
    wrong = faults(one)
    if chosen.json:
        print(json.dumps({**one, "faults": wrong}))
    else:
        for key, value in one.items():
            print(f"{key:<18}{value:.1f}" if isinstance(value, float) else f"{key:<18}{value}")
        print("all held" if not wrong else "NOT held: " + "; ".join(wrong))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
