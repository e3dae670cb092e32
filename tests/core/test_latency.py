from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.core.latency import BOUNDS_MS, LagWindow

LAGS = st.lists(st.floats(-50, 90_000), min_size=1, max_size=200)


def test_no_lags_have_no_percentiles() -> None:
    assert LagWindow().percentiles(5, 50, 99) == (None, None)


@given(LAGS)
def test_percentiles_are_right_to_a_bin(lags: list[float]) -> None:
    window = LagWindow()
    window.add(7, lags)
    for share in (50, 95, 99):
        (found,) = window.percentiles(7, share)
        # The smallest lag that so many do not exceed, as numpy gives it.
        exact = max(float(np.percentile(lags, share, method="inverted_cdf")), 0.1)
        assert found is not None
        assert exact <= found * (1 + 1e-12)
        assert found <= max(exact * 10**0.1, BOUNDS_MS[0]) * (1 + 1e-9)


def test_beyond_the_last_bound_is_infinite() -> None:
    window = LagWindow()
    window.add(1, 200_000.0)
    assert window.percentiles(1, 50) == (np.inf,)


def test_old_seconds_leave_the_window_and_stay_in_the_totals() -> None:
    window = LagWindow(window_s=10)
    window.add(100, [1.0] * 9)
    window.add(105, [1000.0])
    assert window.percentiles(105, 50)[0] == pytest.approx(1.0)
    assert window.percentiles(110, 50)[0] == pytest.approx(1000.0)
    assert window.percentiles(115, 50) == (None,)
    assert window.totals.sum() == 10
    assert window.sum_ms == pytest.approx(1009.0)


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0.1, 1000)), max_size=60))
def test_the_window_is_that_of_a_plain_list(steps: list[tuple[int, float]]) -> None:
    window, now_s = LagWindow(window_s=20), 1000
    said: list[tuple[int, float]] = []
    for passed, lag in steps:
        now_s += passed
        window.add(now_s, lag)
        said.append((now_s, lag))
    recent = [lag for at, lag in said if at > now_s - 20]
    (found,) = window.percentiles(now_s, 100)
    assert (found is None) == (not recent)
    if found is not None:
        assert max(recent) <= found * (1 + 1e-12)
        assert found <= max(recent) * 10**0.1 * (1 + 1e-9)
