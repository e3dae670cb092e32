"""Ctrl-C while libraries are at work."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

import pytest

from collector.interrupts import interrupt_kept


@pytest.fixture(autouse=True)
def a_terminal() -> Iterator[None]:
    """What a shell starts in the background ignores the signal from its first moment, these tests as well."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupted_and_changed() -> None:
    """What pyarrow does to an interrupt."""
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    raise TypeError("unexpected argument type")


def interrupted_and_lost() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_that_a_library_changes_or_loses_stays_one() -> None:
    for work in (interrupted_and_changed, interrupted_and_lost):
        with pytest.raises(KeyboardInterrupt), interrupt_kept():
            work()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_errors_without_an_interrupt_stay_as_they_are() -> None:
    with pytest.raises(ZeroDivisionError), interrupt_kept():
        _ = 1 // 0


def test_the_handlers_of_others_are_left_alone() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupt_kept():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
