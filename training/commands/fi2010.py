"""`training fi2010`: the benchmark of limit order books, on files that you have."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.option("--data-dir", required=True, type=click.Path(path_type=Path), help="folder with *_DecPre_CF_{7,8,9}.txt")
@click.option("--channels", default=32, show_default=True, type=click.IntRange(1))
@click.option("--levels", default=4, show_default=True, type=click.IntRange(1, 12))
@click.option("--kernel", default=4, show_default=True, type=click.IntRange(2))
@click.option("--epochs", default=30, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=0, show_default=True)
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1))
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda")
@click.option("--json", "as_json", is_flag=True, help="the figures as one object")
def fi2010(
    data_dir: Path,
    channels: int,
    levels: int,
    kernel: int,
    epochs: int,
    seed: int,
    threads: int,
    device: str,
    as_json: bool,
) -> None:
    """Trains on CF_7 and tests on CF_7, 8 and 9, as published; prints both F1s beside the majority floor."""
    from training.fi2010 import Settings, run

    settings = Settings(
        channels=channels, levels=levels, kernel=kernel, epochs=epochs, seed=seed, threads=threads, device=device
    )
    result = run(data_dir, settings, lambda text: click.echo(text, err=as_json))
    if as_json:
        click.echo(json.dumps(result))
        return
    click.echo(f"{'k':>4} {'accuracy':>9} {'F1 weighted':>12} {'F1 macro':>9} {'majority':>9}")
    for name, one in result["horizons"].items():
        click.echo(
            f"{name:>4} {one['accuracy']:>9.4f} {one['f1_weighted']:>12.4f} {one['f1_macro']:>9.4f} "
            f"{one['majority']:>9.4f}"
        )
    click.echo(f"{result['events']:,} test events, {result['parameters']:,} parameters")
