"""Checkpoints: whole or not there, loaded with weights only, and refused when they belong to something else."""

from __future__ import annotations

import hashlib
import io
import subprocess
from pathlib import Path
from typing import Any, Final

from training.errors import TrainingError
from training.files import replacing

_MAGIC: Final = b"depth-collector checkpoint 1\n"


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes tensors and plain values. A digest goes first: a damaged file is never taken for a model."""
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    body = buffer.getvalue()
    with replacing(path) as unfinished:
        unfinished.write_bytes(_MAGIC + hashlib.sha256(body).digest() + body)


def load(path: Path) -> dict[str, Any]:
    """What `save` wrote.

    Raises:
        TrainingError: not there, or damaged.
    """
    import torch

    try:
        content = path.read_bytes()
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read ({error.strerror}); train first") from error
    start = len(_MAGIC) + 32
    body = memoryview(content)[start:]
    if not content.startswith(_MAGIC) or hashlib.sha256(body).digest() != content[len(_MAGIC) : start]:
        raise TrainingError(f"{path}: is damaged or no checkpoint; remove it and train again, or restore it")
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except Exception as error:
        raise TrainingError(f"{path}: was not written by this version ({error}); train again") from error
    return state


def require_same(path: Path, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Whether a checkpoint belongs to this run.

    Raises:
        TrainingError: naming the first setting that differs, with both values.
    """
    for key, value in wanted.items():
        if saved.get(key) != value:
            raise TrainingError(
                f"--resume: {path} was made with {key} {saved.get(key)}, and now it is {value}; "
                "use the same settings and data, or another --output-dir"
            )


def git_commit() -> str:
    """The commit that this code is of; "unknown" outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - git as the user has it
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
