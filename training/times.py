"""Times as people write them on the command line."""

from __future__ import annotations

from datetime import UTC, datetime

import click

_UNIT_NS = {10: 1_000_000_000, 13: 1_000_000, 16: 1_000, 19: 1}


class Time(click.ParamType[int]):
    """ISO 8601 (UTC unless it says otherwise), or a Unix time in s, ms, µs or ns; gives nanoseconds."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).strip()
        if text.isdigit() and len(text) in _UNIT_NS:
            return int(text) * _UNIT_NS[len(text)]
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is no time: write 2026-11-20T14:12:45Z, or a Unix time in s, ms, µs or ns", param, ctx)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return int(moment.replace(microsecond=0).timestamp()) * 1_000_000_000 + moment.microsecond * 1_000


def show_ns(time_ns: int) -> str:
    """A time for people, in UTC."""
    return f"{datetime.fromtimestamp(time_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S}"
