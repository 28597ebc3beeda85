"""The program of the manual's page runs as it stands there."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.servers.pubsub import PubSubServer

from penstock.message import Record

PAGE = Path(__file__).parents[3] / "docs" / "how_to" / "pubsub.md"


def test_the_program_of_the_page_runs(
    opener: Any, consumed: Any, pubsub_server: PubSubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most fifteen lines, on the emulator that the environment names."""
    [program] = re.findall(r"```python title=invoicing.py\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(program.splitlines()) <= 15
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_server.address)
    (tmp_path / "invoicing.py").write_text(program)

    async def main() -> list[bytes | None]:
        opener.name = "orders"
        async with opener.producer(ordering=True) as producer:
            assert not any(await producer.produce([Record(b'{"id": 7, "cents": 1999}')]))
        opener.name = "invoices"
        async with opener.consumer(ordering=True) as invoices:
            worker = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "penstock", "run", "invoicing.py", "--metrics-port", "none", cwd=tmp_path
            )
            try:
                messages = await consumed(invoices, 1)
                await invoices.on_success(messages)
            finally:
                worker.terminate()
                await worker.wait()
        return [message.message for message in messages]

    assert asyncio.run(main()) == [b'{"order":7,"text":"19.99"}']
