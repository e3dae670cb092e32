"""The network is causal, and sees exactly its receptive field."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.samples import small_config
from training.config import Config, check, levels_within, receptive_field
from training.errors import TrainingError
from training.model import TCN, Forecaster


def network(levels: int, kernel: int) -> TCN:
    """Weights that let everything through: none is zero, no unit is dead."""
    torch.manual_seed(0)
    tcn = TCN(3, 2, channels=4, levels=levels, kernel=kernel).double()
    with torch.no_grad():
        for parameter in tcn.parameters():
            parameter.uniform_(0.1, 1.0)
    return tcn.eval()


@settings(max_examples=25, deadline=None)
@given(levels=st.integers(1, 3), kernel=st.integers(2, 4), at=st.integers(0, 119), seed=st.integers(0, 99))
def test_changing_a_row_changes_nothing_before_it_and_reaches_r_minus_1_rows(levels, kernel, at, seed):
    tcn = network(levels, kernel)
    rows = torch.rand(1, 3, 120, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    changed = rows.clone()
    changed[..., at] += 1.0
    with torch.no_grad():
        differs = (tcn(rows) != tcn(changed)).any(1)[0]
    reached = differs.nonzero().ravel()
    last = min(119, at + tcn.receptive_field - 1)
    assert reached.tolist() == list(range(at, last + 1))


def test_receptive_field_of_the_usual_network():
    assert receptive_field(4, 4) == 91
    assert network(4, 4).receptive_field == 91
    assert levels_within(4, 100) == 4
    assert levels_within(4, 90) == 3
    assert levels_within(8, 10) == 0


def test_untrained_it_forecasts_no_move():
    model = Forecaster(small_config())
    assert not model(torch.rand(2, 7, 50)).any()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"input_length": 13}, "receptive field is 14 rows .one row before.*--input-length to 14"),
        ({"features": ("spread", "spread")}, "--features spread"),
        ({"features": ()}, "--features names nothing"),
        ({"horizons": (1, 1)}, "--horizons 1 1"),
        ({"raw_level": True, "task": "classification"}, "--raw-level"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change, problem):
    with pytest.raises(TrainingError, match=problem):
        check(small_config(**change))
    check(small_config())


def test_purge_is_r_minus_1_plus_h():
    config: Config = small_config(horizons=(1, 7))
    assert config.receptive_field == 14  # 13 of the network, one for the return
    assert config.purge == 13 + 7
    assert small_config(features=("spread",)).receptive_field == 13
