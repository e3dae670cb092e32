"""Sizes as people write them."""

from __future__ import annotations

import re

import click

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]I?)?B?")


class Size(click.ParamType[int]):
    """Bytes: a whole number, or one with a unit such as 500MB, 20G or 1.5TiB; at least `minimum`."""

    name = "size"

    def __init__(self, minimum: int) -> None:
        self._minimum = minimum

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = _SIZE.fullmatch(str(value).strip().upper())
        if match is None:
            self.fail(f"{value!r} is no size: write bytes, or a number with a unit as in 500MB or 20GiB.", param, ctx)
        size = round(float(match[1]) * _UNITS[match[2] or ""])
        if size < self._minimum:
            self.fail(f"{value!r} is too small: at least {self._minimum:,} bytes.", param, ctx)
        return size
