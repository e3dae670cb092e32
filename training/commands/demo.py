"""`training demo`: from an exchange to a report, once with something to find and once with nothing."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from training.errors import TrainingError

SIGNAL = 0.5
_EXPORT = ("training", "export", "--dataset", "depth", "--no-progress")
_FEATURES = (
    *("best_bid", "best_ask", "price"),
    *(f"{side}_buckets_{number}" for side in ("bid", "ask") for number in range(3)),
)
_TRAIN = (
    *("--targets", "price", "--features", *_FEATURES, "--horizons", "1", "2", "5", "--folds", "2"),
    *("--epochs", "15", "--batch-size", "256", "--channels", "16", "--input-length", "50", "--no-progress"),
)


@click.command()
@click.option(
    "--data-dir",
    default="demo-data",
    show_default=True,
    type=click.Path(path_type=Path),
    help="a folder of the demo's own in here",
)
@click.option("--hours", default=1.0, show_default=True, type=click.FloatRange(0.3, 100), help="of each market")
@click.option("--seed", default=1, show_default=True, help="of the simulated markets")
def demo(data_dir: Path, hours: float, seed: int) -> None:
    """Simulates two markets, collects, exports, trains on and reports both. Under two minutes, no network.

    In one the book tells of the next moves (`simulate --signal`), in the other it does not. The model must find it in
    the one and say that there is nothing in the other; else the exit code is 1.
    """
    folder = data_dir / datetime.now(UTC).strftime("training-%Y%m%dT%H%M%S")
    if folder.exists():
        raise TrainingError(f"--data-dir {folder}: exists already; wait a second and try again")
    markets = {"signal": folder / "signal", "none": folder / "none"}
    strength = {"signal": SIGNAL, "none": 0.0}

    _title(1, f"Two simulated markets of {hours:g} hours, with a signal of {SIGNAL} and without, as captures")
    record = ("--record-s", hours * 3600, "--symbols", 1, "--seed", seed)
    _both(
        {
            name: ("collector", "simulate", "--signal", strength[name], *record, "--record", place / "raw")
            for name, place in markets.items()
        }
    )
    _title(2, "Through the collector's core into a store each")
    captures = {name: sorted((place / "raw").glob("*.zst")) for name, place in markets.items()}
    _both(
        {
            name: ("collector", "replay", *captures[name], "--data-dir", place / "data")
            for name, place in markets.items()
        }
    )
    _title(3, "Export the depth buckets")
    _both(
        {
            name: (*_EXPORT, "--data-dir", place / "data", "--output", place / "export")
            for name, place in markets.items()
        }
    )
    _title(4, "Train, and judge on rows that the model has not seen")
    _both(
        {
            name: ("training", "train", "--parquet-path", place / "export", *_TRAIN, "--output-dir", place / "models")
            for name, place in markets.items()
        },
        last_lines=6,
    )
    _title(5, "A report on each")
    _both(
        {
            name: ("training", "report", "--model-dir", place / "models", "--output", place / "report.html")
            for name, place in markets.items()
        }
    )
    verdicts = {
        name: json.loads((place / "models" / "evaluation.json").read_text(encoding="utf-8"))["verdict"]
        for name, place in markets.items()
    }
    _title(6, "What was found")
    for name, verdict in verdicts.items():
        click.echo(f"signal {strength[name]:g}: {verdict}")
    if not verdicts["signal"].startswith("skill above persistence"):
        raise _bad_news("the model did not find the signal")
    if not verdicts["none"].startswith("no skill found"):
        raise _bad_news("the model claims skill where there is none")
    click.echo(f"open {markets['signal'] / 'report.html'} and {markets['none'] / 'report.html'}")


def _both(commands: dict[str, tuple[object, ...]], last_lines: int = 1) -> None:
    """Runs a step for both markets at once and shows how each ended."""
    running = {}
    for name, (module, *arguments) in commands.items():
        words = [str(word) for word in arguments]
        click.secho(f"$ python -m {module} {shlex.join(words)}", dim=True)
        running[name] = subprocess.Popen(
            [sys.executable, "-m", str(module), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    told = {name: process.communicate() for name, process in running.items()}
    for name, process in running.items():
        if process.returncode:
            raise _bad_news(f"{name}: ended with exit code {process.returncode}: {told[name][1].strip()}")
        for line in told[name][0].rstrip().splitlines()[-last_lines:]:
            click.echo(f"{name:>6} | {line}")


def _bad_news(message: str) -> click.exceptions.Exit:
    click.echo(f"demo: {message}", err=True)
    return click.exceptions.Exit(1)


def _title(number: int, text: str) -> None:
    click.secho(f"\n{number}. {text}", bold=True)
