"""A store of one market that was collected in one or two sessions, with its features."""

from __future__ import annotations

import random
from collections.abc import Collection
from pathlib import Path

from msgspec.structs import replace

from collector.core.batch import Batch
from collector.core.inputs import Opened, Resume, SessionStopped
from collector.core.market import Market
from collector.store import StoreWriter
from storage_backends import interface
from storage_backends.interface import Backend
from tests.core.exchange import START_NS
from tests.core.script import Input, Script, hand, session
from tests.stores import open_local

MARKET = interface.Market("binanceusdm", "BTCUSDT")


def collect(
    inputs: list[Input], features: str, *, futures: bool, drains: int | None = None, cut: int | None = None
) -> list[Batch]:
    """The rows of a session; with `cut`, the process ends before that input and comes back ten inputs later."""
    chance = random.Random(drains)
    start = replace(session(futures=futures), features=features)
    rows: list[Batch] = []
    resume: Resume | None = None
    for part in (inputs[:cut], [] if cut is None else inputs[cut + 10 :]):
        if not part:
            continue
        start_ns = START_NS if resume is None else part[0].recv_ns
        market = Market(start_ns, replace(start, resume=resume))
        if resume is not None:
            market.apply(start_ns, Opened(9, ["depth", "trades"]))
        for one in part:
            hand(market, one)
            if drains is not None and chance.random() < 0.4:
                rows += market.drain()
        if not isinstance(part[-1].what, SessionStopped):
            market.apply(part[-1].recv_ns, SessionStopped("stopped"))
        rows += market.drain()
        resume = market.resume()
    return rows


def stored(folder: Path, rows: list[Batch], market: interface.Market = MARKET) -> Backend:
    """The rows in a local store."""
    store = open_local(folder)
    writer = StoreWriter(store, "live", ("--data-dir", folder))
    writer.add(*market, rows)
    writer.flush()
    return store


def script(seed: int, *, futures: bool, faults: Collection[str] = ()) -> list[Input]:
    """Inputs of which no two have one stamp, as at a socket."""
    made = Script(seed, futures=futures, faults=faults).inputs
    return [Input(one.recv_ns + number, one.what) for number, one in enumerate(made)]
