"""No window crosses a hole, and no row is shared by two parts of a fold."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.batches import chunk_rows, chunks
from training.segments import Span, clip, contiguous, find_segments, labelled, row_numbers, walk_forward

PERIOD = 100


@st.composite
def times(draw: st.DrawFn) -> np.ndarray:
    """Ascending times with holes of one period and more, and jitter below half a period."""
    steps = draw(st.lists(st.sampled_from([100, 100, 100, 100, 100, 200, 5000]), min_size=1, max_size=300))
    jitter = draw(st.lists(st.integers(-20, 20), min_size=len(steps), max_size=len(steps)))
    return np.cumsum(np.array(steps)) + np.array(jitter)


@given(times())
def test_segments_are_all_rows_and_no_hole(time_ns):
    segments = find_segments(time_ns, PERIOD)
    assert row_numbers(segments).tolist() == list(range(len(time_ns)))
    for start, stop in segments:
        assert (np.abs(np.diff(time_ns[start:stop]) - PERIOD) <= 50).all()
    for _, stop in segments[:-1]:
        assert abs(time_ns[stop] - time_ns[stop - 1] - PERIOD) > 50


@given(times(), st.integers(0, 12), st.integers(1, 8), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_no_chunk_with_its_context_and_labels_crosses_a_hole_and_each_label_comes_once(
    time_ns, context, horizon, size, seed
):
    spans = labelled(find_segments(time_ns, PERIOD), context, horizon)
    follows = contiguous(time_ns, PERIOD)
    for rng in (None, np.random.default_rng(seed)):
        found = chunks(spans, size, rng)
        for start, count in found:
            assert 1 <= count <= size
            assert follows[start - context + 1 : start + count + horizon].all()
            assert start - context >= 0
            assert start + count - 1 + horizon < len(time_ns)
        labels = sorted(row for start, count in found for row in range(start, start + count))
        assert labels == row_numbers(spans).tolist()


@given(st.integers(1, 5000), st.integers(1, 6), st.integers(1, 60), st.integers(1, 30))
def test_purge_leaves_no_row_to_two_parts(rows, folds, field, horizon):
    purge = field - 1 + horizon
    whole = np.array([[0, rows]])
    for fold in walk_forward(rows, folds, purge):
        seen: list[tuple[int, int]] = []
        for span in fold:
            assert 0 <= span.start <= span.stop <= rows
            labels = labelled(clip(whole, span), field - 1, horizon)
            if len(labels):
                # All rows that inputs and labels of this part touch.
                seen.append((labels[0, 0] - field + 1, labels[-1, 1] - 1 + horizon))
        for before, after in pairwise(seen):
            assert after[0] - before[1] > purge


def test_folds_go_forward_and_every_later_row_is_tested_once():
    folds = walk_forward(1000, 3, 0)
    assert [fold.test for fold in folds] == [Span(400, 600), Span(600, 800), Span(800, 1000)]
    assert all(fold.train.start == 0 and fold.train.stop == fold.validation.start for fold in folds)


def test_a_batch_counts_forecasts():
    for batch in (1, 10, 64, 512, 4096, 100_000):
        assert 1 <= chunk_rows(batch) <= batch
