"""The examples in the description of the interface look like the answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from collector.clock import ManualClock
from collector.control import Done
from collector.live_state import write_state
from collector.serve import live_routes
from collector.serve.live import Live
from storage_backends.contract import put
from storage_backends.contract.rows import arrow, row
from storage_backends.hot import HotStore
from tests.audit.sample import MARKET, Sample
from tests.core.exchange import SECOND, START_NS
from tests.serve.conftest import application
from tests.test_live_state import state

SOME_COLUMNS = ("/features/{symbol}", "/latest/{what}", "/state")
"""Their examples show some of what is there."""

ASKED = {
    "/book/{symbol}": f"?at={START_NS + 11 * SECOND}",
    "/ohlcv/{symbol}": "?timeframe=5s",
    "/control/anchor/reset": "?symbol=BTCUSDT",
}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A store with something for every question."""
    sample = Sample(tmp_path_factory.mktemp("examples"))
    hot = HotStore(sample.folder)
    for table in ("features", "multitick", "trades"):
        rows = [row(table, at) for at in range(5)]
        if table != "trades":
            put(sample.store, table, rows, market=MARKET)
        hot.extend(table, MARKET, arrow(table, rows))
    write_state(sample.folder, state(START_NS + 30 * SECOND))
    return sample


@pytest.fixture
def described(filled: Sample, clock: ManualClock) -> tuple[Any, dict[str, Any]]:
    app = application(filled, clock)
    return app, app.openapi()["paths"]


def alike(example: Any, real: Any, *, some: bool, place: str = "") -> None:
    """The same keys and the same kinds of values; lists by their first entries, and null is of every kind."""
    if isinstance(example, dict) and isinstance(real, dict):
        surplus, missing = example.keys() - real.keys(), real.keys() - example.keys()
        if place.endswith((".gaps", ".clock_offset_ms", ".rest_weight")):  # by names that are data
            return
        assert not surplus, f"{place}: no answer has {sorted(surplus)}"
        assert some or not missing, f"{place}: answers have {sorted(missing)} too"
        for name in example:
            alike(example[name], real[name], some=some, place=f"{place}.{name}")
    elif isinstance(example, list) and isinstance(real, list):
        for first, other in zip(example[:1], real[:1], strict=False):
            alike(first, other, some=some, place=f"{place}[0]")
    elif example is not None and real is not None:
        numbers = (int, float)
        assert isinstance(real, numbers if type(example) in numbers else type(example)), f"{place}: {real!r}"


def test_every_question_has_an_example_that_looks_like_its_answer(
    described: tuple[Any, dict[str, Any]], ask: Callable[..., httpx.Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def done(*_: object) -> Done:
        return Done([("binanceusdm", "BTCUSDT")])

    monkeypatch.setattr(live_routes, "send", done)
    app, paths = described
    assert len(paths) > 15
    for path, operations in paths.items():
        ((method, operation),) = operations.items()
        content = operation["responses"]["200"]["content"]
        if "application/json" not in content:
            assert path in ("/stream", "/metrics")
            continue
        example = content["application/json"]["example"]
        short = path.replace(":path", "")
        url = short.format(symbol="BTCUSDT", table="trades", what="features") + ASKED.get(short, "")
        answer = ask(url, method=method.upper(), app=app)
        assert answer.status_code == 200, (url, answer.text)
        real = answer.json()
        assert real, url
        if "data" in example:
            assert real["count"] > 0, url
        alike(example, real, some=short in SOME_COLUMNS, place=short)


def test_the_example_of_the_stream(described: tuple[Any, dict[str, Any]], filled: Sample, clock: ManualClock) -> None:
    async def first() -> bytes:
        return await anext(aiter(Live(filled.folder, clock).epochs(None)))

    real = asyncio.run(first()).decode()
    example = described[1]["/stream"]["get"]["responses"]["200"]["content"]["text/event-stream"]["example"]
    (kind, told), (real_kind, real_told) = (text.strip().split("\ndata: ") for text in (example, real))
    assert kind == real_kind
    alike(json.loads(told), msgspec.json.decode(real_told), some=True, place="/stream")


def test_the_example_of_metrics(
    described: tuple[Any, dict[str, Any]], ask: Callable[..., httpx.Response], tmp_path: Path
) -> None:
    real = ask("/metrics", app=described[0]).text
    example = described[1]["/metrics"]["get"]["responses"]["200"]["content"]["text/plain"]["example"]
    assert set(example.splitlines()) <= set(real.splitlines())
