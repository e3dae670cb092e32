"""The first thing that a newcomer runs."""

from __future__ import annotations

from pathlib import Path

from tests.live.harness import collector


def test_the_demo_finds_its_gap_and_replays_to_the_same_rows(tmp_path: Path) -> None:
    done = collector("demo", "--data-dir", tmp_path, "--duration", "12")
    assert "good: nothing is missing that no gap tells of" in done.stdout
    assert "disconnect" in done.stdout
    assert done.stdout.count("the replay gave the same rows in every table") == 2
    assert "what to try next" in done.stdout
