"""Whether a run that is to go on is the one that was begun; asked before anything of it is touched."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from training.checkpoint import require_same
from training.files import read_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.config import Config
    from training.dataset import Dataset

_RUN = "run.json"


def require_same_config(folder: Path, config: Config) -> None:
    """Compares settings with those of the run in `folder`; nothing happens where there is none.

    Raises:
        TrainingError: naming the first setting that differs.
    """
    path = folder / _RUN
    if not path.exists():
        return
    saved = read_json(path, "trained model")["config"]
    wanted = config.as_dict()
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in wanted.items()}
    require_same(path, saved, plain)


def require_same_rows(folder: Path, read: Callable[[Path], Dataset]) -> None:
    """Compares the rows that `read` makes with those of the run in `folder`; nothing happens where there is none.

    Raises:
        TrainingError: they are other rows.
    """
    path = folder / _RUN
    if not path.exists():
        return
    saved = read_json(path, "trained model")
    with tempfile.TemporaryDirectory(dir=folder) as place:
        now = read(Path(place) / "dataset")
        require_same(path, {"data": saved["fingerprint"]}, {"data": now.fingerprint})
