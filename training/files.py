"""Files that are whole or not there: written under another name, synced, then renamed."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from training.errors import MachineFailed, TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SETTINGS_KEY: Final = "settings"
"""Where an export notes, in the metadata of a Parquet file, how its rows were made."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a name beside `path` to write to; it becomes `path` when the block ends well.

    Raises:
        MachineFailed: the disk did not take it.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise MachineFailed(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path, marker: str) -> Iterator[Path]:
    """The same for a folder. What lies there already is replaced only if it holds the file `marker`.

    Raises:
        TrainingError: something else lies there.
        MachineFailed: the disk did not take it.
    """
    if folder.exists() and not (folder / marker).is_file():
        raise TrainingError(f"{folder}: exists and was not made by this command; name another folder, or remove it")
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        yield unfinished
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.replace(folder)
    except OSError as error:
        raise MachineFailed(f"{folder} could not be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """`value` as JSON, readable for people too."""
    with replacing(path) as unfinished:
        unfinished.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path, what: str) -> Any:
    """The value in a JSON file.

    Raises:
        TrainingError: not there, or damaged; `what` says what it should be.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TrainingError(f"{path.parent}: holds no {what} ({path.name} is missing)") from error
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path}: cannot be read as {what}: {error}") from error
