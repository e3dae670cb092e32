"""The webhook: told of what got worse, over a real socket, and never of what it would leak."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from collector.core.quality import Grade, Quality
from collector.watch import Change
from collector.webhook import Webhook, body, masked
from storage_backends.interface import Market


def change(symbol: str, before: Grade, now: Grade) -> Change:
    return Change(Market("binanceusdm", symbol), 1_721_347_190, before, Quality(now, ("depth_down",)))


async def serve(answers: list[int], got: list[Any]) -> tuple[web.AppRunner, str]:
    async def take(request: web.Request) -> web.Response:
        got.append(await request.json())
        return web.Response(status=answers.pop(0) if answers else 200)

    app = web.Application()
    app.router.add_post("/hook/secret", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    return runner, f"http://{host}:{port}/hook/secret"


async def test_only_changes_for_the_worse_are_posted_together_and_again_after_a_failure() -> None:
    got: list[Any] = []
    runner, url = await serve([503], got)
    hook = Webhook(url)
    task = asyncio.create_task(hook.run())
    hook.tell([change("BTCUSDT", Grade.OK, Grade.BAD), change("ETHUSDT", Grade.BAD, Grade.OK)])
    hook.tell([change("SOLUSDT", Grade.OK, Grade.DEGRADED)])
    async with asyncio.timeout(20):
        while not hook.posted:  # noqa: ASYNC110  a counter is all that it shows
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    await runner.cleanup()
    assert got[0] == got[1]
    assert [(one["symbol"], one["before"], one["grade"]) for one in got[1]["changes"]] == [
        ("BTCUSDT", "ok", "bad"),
        ("SOLUSDT", "ok", "degraded"),
    ]
    assert got[1]["text"] == "BTCUSDT bad: depth_down; SOLUSDT degraded: depth_down"
    assert (hook.posted, hook.failed) == (2, 0)


async def test_what_cannot_wait_is_counted() -> None:
    hook = Webhook("http://127.0.0.1:9/")
    hook.tell([change(f"A{number}", Grade.OK, Grade.BAD) for number in range(1200)])
    assert hook.failed == 200


def test_the_text_stays_short() -> None:
    text = body([change(f"A{number}", Grade.OK, Grade.BAD) for number in range(8)])["text"]
    assert text.endswith("A4 bad: depth_down; and 3 more")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.com/services/T0/B0/secret", "https://hooks.example.com/…"),
        ("http://user:password@127.0.0.1:8080", "http://127.0.0.1"),
        ("http://127.0.0.1/?token=secret", "http://127.0.0.1/…"),
    ],
)
def test_an_address_prints_masked(url: str, shown: str) -> None:
    assert masked(url) == shown
