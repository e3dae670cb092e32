"""Times as people write them."""

from __future__ import annotations

import datetime as dt
from datetime import UTC, datetime

import click

from collector.clock import Clock, SystemClock

_UNIT_NS = {10: 1_000_000_000, 13: 1_000_000, 16: 1_000, 19: 1}


class Time(click.ParamType[int]):
    """ISO 8601 (UTC unless it says otherwise), or a Unix time in s, ms, µs or ns; gives nanoseconds."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_time(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Date(click.ParamType[dt.date]):
    """A UTC date, `today` or `yesterday`."""

    name = "date"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> dt.date:
        if isinstance(value, dt.date):
            return value
        text = str(value)
        now = today(SystemClock())
        if text in ("today", "yesterday"):
            return now - dt.timedelta(days=text == "yesterday")
        try:
            return dt.date.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is no date: write 2026-11-20, today or yesterday", param, ctx)


def today(clock: Clock) -> dt.date:
    """The UTC date."""
    return datetime.fromtimestamp(clock.now_ns() // 1_000_000_000, UTC).date()


def parse_time(text: str) -> int:
    """Nanoseconds since the Unix epoch.

    Raises:
        ValueError: neither ISO 8601 nor a Unix time of 10, 13, 16 or 19 digits.
    """
    text = text.strip()
    whole, _, fraction = text.partition(".")
    if whole.isdigit() and len(whole) in _UNIT_NS:
        unit = _UNIT_NS[len(whole)]
        return int(whole) * unit + (round(float(f"0.{fraction}") * unit) if fraction.isdigit() else 0)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is no time: write 2026-11-20T14:12:45Z, or a Unix time in s, ms, µs or ns"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = int(moment.replace(microsecond=0).timestamp())
    return seconds * 1_000_000_000 + moment.microsecond * 1_000


def show_ns(time_ns: int | None) -> str:
    """A time for people, to the millisecond, in UTC."""
    if time_ns is None:
        return "-"
    moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{time_ns // 1_000_000 % 1000:03d}"
