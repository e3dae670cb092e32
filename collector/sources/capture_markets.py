"""Which markets captures hold."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec

from collector.core.inputs import SessionStarted, decode_input
from collector.sources.capture import COLLECTOR_STREAM, OWN_NAME, RAW_STREAM, read_capture, symbol_of

_SYMBOL = re.compile(r"[A-Z0-9_]+")


def symbols_in(paths: Iterable[Path], wanted: Collection[str]) -> set[str]:
    """The exchanges' symbols of the markets in captures, as far as it takes to find all of `wanted`.

    Captures of `run --raw` tell theirs by their names; others are read until nothing wanted is missing, which is to the
    end where it is not there.

    Raises:
        CaptureError: a file is damaged, or no capture.
    """
    found: set[str] = set()
    others = []
    for path in paths:
        own = OWN_NAME.fullmatch(path.name)
        if own is None:
            others.append(path)
        else:
            found.add(own.group(1))
    for path in others:
        if found.issuperset(wanted):
            break
        _read(path, wanted, found)
    return found


def _read(path: Path, wanted: Collection[str], found: set[str]) -> None:
    bare = False
    for line in read_capture(path):
        if line.stream is None:
            bare = True
        elif line.stream == COLLECTOR_STREAM:
            with contextlib.suppress(msgspec.MsgspecError):
                session = decode_input(line.data)
                if isinstance(session, SessionStarted):
                    found.add(session.symbol)
                    return  # all of the file is of this market
        elif line.stream != RAW_STREAM:
            symbol = line.stream.partition("@")[0].upper()
            if symbol not in found and _SYMBOL.fullmatch(symbol):
                found.add(symbol)
                if found.issuperset(wanted):
                    return
    if bare and (named := symbol_of(path, sorted(wanted))) is not None:
        found.add(named)
