"""The network: a temporal convolutional network (Bai, Kolter, Koltun 2018), causal, trained on every row at once.

Shapes are (batch, channels, rows). An output at row t depends on the rows t - R + 1 … t and on nothing else, R the
receptive field; outputs of the first R - 1 rows see zeros where rows are missing and are not to be used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from training.config import CLASSIFICATION, receptive_field

if TYPE_CHECKING:
    from training.config import Config

CLAMP = 8.0
"""Inputs are cut off at so many standard deviations of the training rows."""


class CausalConv(nn.Conv1d):
    """A convolution that pads the past and never sees the future."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int) -> None:
        super().__init__(inputs, outputs, kernel, dilation=dilation)
        self.history = (kernel - 1) * dilation

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.pad(x, (self.history, 0)))


class Block(nn.Module):
    """Two causal convolutions and a way around them."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.first = weight_norm(CausalConv(inputs, outputs, kernel, dilation))
        self.second = weight_norm(CausalConv(outputs, outputs, kernel, dilation))
        self.around: nn.Module = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.dropout(functional.relu(self.first(x)))
        y = self.dropout(functional.relu(self.second(y)))
        return functional.relu(y + self.around(x))


class TCN(nn.Module):
    """Blocks of doubling dilation and a linear head, which starts at zero: untrained, it forecasts no move."""

    def __init__(
        self, inputs: int, outputs: int, *, channels: int, levels: int, kernel: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        widths = [inputs] + [channels] * levels
        self.blocks = nn.Sequential(*(Block(widths[n], widths[n + 1], kernel, 2**n, dropout) for n in range(levels)))
        self.head = nn.Conv1d(channels, outputs, 1)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)
        self.receptive_field = receptive_field(kernel, levels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.blocks(x))
        return y


class Forecaster(nn.Module):
    """The network with all that it needs to know of the training rows, so that nothing can be lost on the way to use.

    Buffers: `mean` and `std` of each input; `center` and `scale` of each output; `gain`, by which forecasts are
    multiplied after calibration (`forecast.evidence_gain`). `forward` takes prepared inputs (`columns.prepare`) and
    gives basis points of log-return, prices (raw level), or the logarithms of the classes' odds.
    """

    mean: Tensor
    std: Tensor
    center: Tensor
    scale: Tensor
    gain: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.classes = config.task == CLASSIFICATION
        features, outputs = len(config.features), config.outputs
        self.register_buffer("mean", torch.zeros(features, 1))
        self.register_buffer("std", torch.ones(features, 1))
        self.register_buffer("center", torch.zeros(outputs, 1))
        self.register_buffer("scale", torch.ones(outputs, 1))
        self.register_buffer("gain", torch.ones(outputs, 1))
        self.tcn = TCN(
            features,
            outputs,
            channels=config.channels,
            levels=config.levels,
            kernel=config.kernel,
            dropout=config.dropout,
        )

    def forward(self, x: Tensor, normalised: bool = False) -> Tensor:
        """`normalised` gives outputs in units of `scale` around `center`: what the loss compares."""
        y: Tensor = self.tcn(((x - self.mean) / self.std).clamp(-CLAMP, CLAMP))
        return y if normalised else y * (self.gain * self.scale) + self.center
