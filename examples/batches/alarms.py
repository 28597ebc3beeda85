"""Asks a slow service about each reading, five at a time: the calls wait side by side."""

import asyncio
from collections.abc import AsyncIterator

from pydantic import BaseModel

from penstock import Engine


class Reading(BaseModel):
    """What a sensor says."""

    sensor: str
    degrees: float


app = Engine(
    app_name="alarms",
    input_queue="readings-one-by-one",
    output_queues=["alarms"],
    config="queues.yml",
    concurrency=5,
)


async def limit_of(sensor: str) -> float:
    """What a service somewhere would answer after a while."""
    await asyncio.sleep(0.2)
    return {"oven": 300.0}.get(sensor, 25.0)


@app.stream_app
async def watch(reading: Reading) -> AsyncIterator[tuple[str, Reading]]:
    if reading.degrees > await limit_of(reading.sensor):
        yield "alarms", reading
