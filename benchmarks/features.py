"""What features cost: CPU time per market and second, beside that of the ingest without them, and each one's share.

    python benchmarks/features.py [--markets 50] [--seconds 300] [--features all] [--rounds 3] [--json]

Every market gets the real July USDⓈ-M capture, which is a busy one, and then an ordinary one: the same with a tenth of
its best quotes and trades. Both also get a mark price a second and a liquidation in ten, made up. Ingest is the core
with its rows packed for the journal: no socket, no disk. Runs with and without features take turns; the smallest CPU
time counts. A feature's share is the time of its signals, divided equally among all that need them, and of reading it.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from collector.core.batch import Batch
from collector.core.decode import decode
from collector.core.features.catalog import REGISTRY, choose_features
from collector.core.features.engine import FeatureEngine
from collector.core.features.workspace import Workspace
from collector.core.flow import EpochFlow
from collector.core.inputs import Opened, SessionStarted
from collector.core.market import Market
from collector.journal.codec import encode
from collector.sources.capture import CaptureLine, merge_captures

ROOT = Path(__file__).parents[1]
CAPTURES = Path(os.environ.get("CAPTURE_DIR", ROOT / "../shared/data"))
FILES = [CAPTURES / "usdm_btcusdt_20240718.gz", CAPTURES / "usdm_btcusdt_20240719.gz"]
CHANNELS = ("depth", "raw_trades", "book_ticker", "mark_price", "liquidations")
SECOND_NS = 1_000_000_000
THIN = {"bookTicker": 10, "trade": 10}


class Keeps:
    """A consumer that keeps the flows."""

    def __init__(self) -> None:
        self.flows: list[EpochFlow] = []

    def take(self, flow: EpochFlow) -> Iterable[Batch]:
        self.flows.append(flow)
        return ()


def made_up(at_ns: int) -> list[CaptureLine]:
    """A mark price, and a liquidation every ten seconds."""
    ms = at_ns // 1_000_000
    mark = {"e": "markPriceUpdate", "E": ms, "s": "BTCUSDT", "p": "63950.1", "i": "63940.2", "P": "63945.0"}
    frames = [("btcusdt@markPrice@1s", {**mark, "r": "0.0001", "T": ms + 3_600_000})]
    if at_ns // SECOND_NS % 10 == 0:
        order = {"s": "BTCUSDT", "S": "SELL", "o": "LIMIT", "f": "IOC", "q": "0.01", "p": "63900.0", "ap": "63910.0"}
        order |= {"X": "FILLED", "l": "0.01", "z": "0.01", "T": ms}
        frames.append(("btcusdt@forceOrder", {"e": "forceOrder", "E": ms, "o": order}))
    return [CaptureLine(at_ns, name, json.dumps(frame).encode()) for name, frame in frames]


def lines(seconds: int, *, thin: bool) -> list[CaptureLine]:
    kept: list[CaptureLine] = []
    counts: dict[str, int] = {}
    start_ns: int | None = None
    made_ns = 0
    for _, line in merge_captures(FILES):
        if start_ns is None:
            start_ns = made_ns = line.recv_ns
        if line.recv_ns - start_ns > seconds * SECOND_NS:
            break
        while made_ns <= line.recv_ns:
            kept += made_up(made_ns)
            made_ns += SECOND_NS
        channel = "snapshot" if line.stream is None else line.stream.partition("@")[2].partition("@")[0]
        counts[channel] = counts.get(channel, 0) + 1
        if not thin or counts[channel] % THIN.get(channel, 1) == 0:
            kept.append(line)
    return kept


def session(features: str) -> SessionStarted:
    return SessionStarted(exchange="binanceusdm", symbol="BTCUSDT", futures=True, channels=CHANNELS, features=features)


def run(one_market: list[CaptureLine], features: str, markets: int, keeps: Keeps | None = None) -> float:
    """CPU seconds of `markets` markets that take the same lines, each drained and packed every second."""
    made = [Market(one_market[0].recv_ns, session(features)) for _ in range(markets)]
    if keeps is not None:
        made[0].add_consumer(keeps)
    gc.collect()
    began = time.process_time()
    for market in made:
        market.apply(one_market[0].recv_ns, Opened(1, list(CHANNELS)))
        drained_ns = one_market[0].recv_ns
        for line in one_market:
            if line.stream is None:
                market.anchor(line.recv_ns, line.data)
            else:
                market.message(line.recv_ns, decode(line.data), line.data)
            if line.recv_ns - drained_ns >= SECOND_NS:
                drained_ns = line.recv_ns
                for batch in market.drain():
                    encode(batch)
    return time.process_time() - began


def shares(flows: list[EpochFlow], names: list[str]) -> dict[str, float]:
    """Percent of the engine's time that goes to each feature. What several need is divided among them equally."""
    engine = FeatureEngine(choose_features(",".join(names)), 1, CHANNELS)
    spent = dict.fromkeys(engine.workspace.keys, 0)
    read = dict.fromkeys(engine.names, 0)
    clock = time.thread_time_ns
    nothing = min(-clock() + clock() for _ in range(1000))
    for flow in flows[3:]:
        for key, (signal, _) in zip(engine.workspace.keys, engine.workspace.steps, strict=True):
            began = clock()
            signal.update(flow)
            spent[key] += clock() - began - nothing
        for name, (reader, _) in zip(engine.names, engine.readers, strict=True):
            began = clock()
            reader()
            read[name] += clock() - began - nothing
    needed = {}
    for name in engine.names:
        workspace = Workspace(1)
        REGISTRY[name].open(workspace)
        needed[name] = workspace.keys
    users = {key: sum(key in keys for keys in needed.values()) for key in spent}
    cost = {name: read[name] + sum(spent[key] / users[key] for key in keys) for name, keys in needed.items()}
    whole = sum(cost.values())
    return {name: 100 * one / whole for name, one in cost.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--markets", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--features", default="all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    chosen = parser.parse_args()
    if not FILES[0].exists():
        raise SystemExit(f"no {FILES[0]}; set CAPTURE_DIR to the folder of real captures")
    report: dict[str, dict[str, float]] = {}
    for kind in ("busy", "ordinary"):
        inputs = lines(chosen.seconds, thin=kind == "ordinary")
        times: dict[str, list[float]] = {"none": [], chosen.features: []}
        for _ in range(chosen.rounds):
            for features, found in times.items():
                found.append(run(inputs, features, chosen.markets))
        ms = {name: 1000 * min(found) / (chosen.seconds * chosen.markets) for name, found in times.items()}
        ingest, both = ms["none"], ms[chosen.features]
        report[kind] = {
            "inputs_per_s": len(inputs) / chosen.seconds,
            "ingest_ms": ingest,
            "features_ms": both - ingest,
            "ratio": (both - ingest) / ingest,
        }
    keeps = Keeps()
    run(lines(chosen.seconds, thin=False), "none", 1, keeps)
    names = [one.name for one in choose_features(chosen.features).features if not one.across]
    parts = shares(keeps.flows, names)
    if chosen.json:
        print(json.dumps({"per_market_second": report, "shares_percent": parts}))
        return 0
    print(f"{chosen.features}: {len(names)} features, {chosen.markets} markets, {chosen.seconds} s")
    print(f"{'market':<10}{'inputs/s':>10}{'ingest ms':>12}{'features ms':>13}{'ratio':>8}")
    for kind, one in report.items():
        print(
            f"{kind:<10}{one['inputs_per_s']:>10.0f}{one['ingest_ms']:>12.3f}{one['features_ms']:>13.3f}"
            f"{one['ratio']:>8.2f}"
        )
    print("share of the time of all features:")
    for name, share in sorted(parts.items(), key=lambda item: -item[1]):
        print(f"  {name:<26}{share:>6.2f} %")
    reached = all(one["ratio"] <= 1 for one in report.values())
    print(f"at most the cost of the ingest: {'reached' if reached else 'NOT reached'}")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
