"""The programs of the manual's page run, against real servers in the place of those that they name."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from http_scripted import scripted

from penstock.message import Record
from penstock.standalone import OutputQueue, resolve

PAGE = Path(__file__).parents[3] / "docs" / "how_to" / "http.md"
LINES = 15  # of a program
WAIT = 60.0


def program(name: str) -> str:
    [text] = re.findall(rf"```python title={name}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return str(text)


async def run(text: str, done: Callable[[], bool]) -> None:
    """Run the engine of a program until something is done."""
    names: dict[str, Any] = {"__name__": "program"}
    exec(compile(text, "program.py", "exec"), names)
    serving = asyncio.create_task(names["app"].serve())
    async with asyncio.timeout(WAIT):
        while not done() and not serving.done():
            await asyncio.sleep(0.02)
    serving.cancel()
    await asyncio.wait([serving])


@pytest.mark.parametrize("name", ["poller.py", "sender.py"])
def test_a_program_is_short(name: str) -> None:
    """Fifteen lines, without blank ones and the start by hand."""
    lines = program(name).partition("\nif __name__")[0].splitlines()
    assert len(list(filter(None, lines))) <= LINES


def test_the_poller_prints_the_ids_of_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And stores its place behind them."""
    monkeypatch.chdir(tmp_path)

    async def main() -> None:
        async with scripted(web.json_response({"events": [{"id": 7}, {"id": 8}]})) as server:
            text = program("poller.py").replace("https://api.example.com/events", server.url)
            place = tmp_path / "events.place"
            await run(text, lambda: place.exists() and json.loads(place.read_text())["place"].get("seen") == ["7", "8"])
            assert server.asked[0].path == "/events?limit=100"

    asyncio.run(main())
    assert capsys.readouterr().out.split() == ["7", "8"]


def test_the_sender_sends_each_order_to_both_partners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one id for both."""
    monkeypatch.chdir(tmp_path)

    async def main() -> None:
        orders = resolve({"connector": "sqlite", "value": "orders", "config": {"path": "orders.db"}}, "output")
        async with OutputQueue(orders) as queue:
            await queue.produce([Record(b'{"id": 17}')])
        async with AsyncExitStack() as stack:
            partners = [await stack.enter_async_context(scripted(200)) for _ in range(2)]
            text = program("sender.py")
            for number, partner in enumerate(partners, 1):
                text = text.replace(f"https://api.partner{number}.com/webhooks", partner.url)
            await run(text, lambda: all(partner.asked for partner in partners))
            requests = [asked for partner in partners for asked in partner.asked]
            assert [json.loads(asked.body) for asked in requests] == [{"type": "order.created", "order": 17}] * 2
            assert len({asked.headers["Idempotency-Key"] for asked in requests}) == 1

    asyncio.run(main())
