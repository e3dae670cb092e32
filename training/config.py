"""What a training run was asked for: one frozen object, printed, and saved beside every model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final

from training.errors import TrainingError

REGRESSION: Final = "regression"
CLASSIFICATION: Final = "classification"
CLASSES: Final = ("down", "flat", "up")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of one run. Horizons and lengths count rows (ticks of the data's own period)."""

    features: tuple[str, ...]
    targets: tuple[str, ...]
    horizons: tuple[int, ...]
    input_length: int = 100
    """What a forecast may look back on; the receptive field must fit in it."""
    task: str = REGRESSION
    raw_level: bool = False
    """Forecast the z-scored level itself, as the old recipe does, instead of log-returns."""
    flat_bp: float = 0.0
    """Classification: moves of at most this many basis points are flat."""
    channels: int = 32
    levels: int = 4
    kernel: int = 4
    dropout: float = 0.1
    epochs: int = 25
    batch_size: int = 512
    """Forecasts, not windows of inputs."""
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    clip: float = 1.0
    """Largest norm of the gradient."""
    patience: int = 5
    """Epochs without a better validation loss before a run stops."""
    folds: int = 3
    seeds: tuple[int, ...] = (0,)
    threads: int = 1
    precision: str = "float32"
    device: str = "auto"

    @property
    def outputs(self) -> int:
        """Numbers that the network gives at each row."""
        return len(self.targets) * len(self.horizons) * (len(CLASSES) if self.task == CLASSIFICATION else 1)

    @property
    def network_field(self) -> int:
        """Rows of inputs that one output of the network depends on."""
        return receptive_field(self.kernel, self.levels)

    @property
    def looks_back(self) -> bool:
        """Whether an input of a row needs the row before (a return)."""
        return not self.raw_level and any(name in self.targets for name in self.features)

    @property
    def receptive_field(self) -> int:
        """R: rows of the source that one forecast depends on, its own included."""
        return self.network_field + self.looks_back

    @property
    def longest(self) -> int:
        """H, the longest horizon."""
        return max(self.horizons)

    @property
    def purge(self) -> int:
        """Rows left out between the parts of a fold: R - 1 + H."""
        return self.receptive_field - 1 + self.longest

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and checkpoints."""
        return dataclasses.asdict(self)


def from_dict(values: dict[str, Any]) -> Config:
    """The other way round.

    Raises:
        TrainingError: a key is missing or unknown: written by another version.
    """
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    try:
        return Config(**plain)
    except TypeError as error:
        raise TrainingError(f"the saved configuration does not fit this version ({error}); train anew") from error


def receptive_field(kernel: int, levels: int) -> int:
    """Rows that one output of the network sees: two convolutions a level, the dilation doubling with each level."""
    return 1 + 2 * (kernel - 1) * ((1 << levels) - 1)


def levels_within(kernel: int, rows: int) -> int:
    """The most levels whose receptive field fits in `rows`; 0 when none does."""
    levels = 0
    while receptive_field(kernel, levels + 1) <= rows:
        levels += 1
    return levels


def check(config: Config) -> None:
    """Whether the settings can work together.

    Raises:
        TrainingError: they cannot; says which one to change.
    """
    for option, names in (("--features", config.features), ("--targets", config.targets)):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not names:
            raise TrainingError(f"{option} {' '.join(twice) or 'names nothing'}: name each column once")
    if len(set(config.horizons)) < len(config.horizons):
        raise TrainingError(f"--horizons {' '.join(map(str, config.horizons))}: name each horizon once")
    if config.receptive_field > config.input_length:
        extra = " (one row before included, for returns)" if config.looks_back else ""
        raise TrainingError(
            f"--input-length {config.input_length}: the receptive field is {config.receptive_field} rows{extra}; "
            f"set --input-length to {config.receptive_field} or more, or lower --levels or --kernel"
        )
    if config.raw_level and config.task == CLASSIFICATION:
        raise TrainingError("--raw-level: is for regression; leave out --task classification")
