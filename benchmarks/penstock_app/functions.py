"""The function of every Penstock contender, in each of its kinds."""

from __future__ import annotations

from benchmarks.work import Peak, Reading, peak
from penstock import Engine


def add_function(app: Engine, kind: str) -> None:
    """Give an engine its function: "sync", "async", or "batch" for one that takes a list."""
    if kind == "async":

        @app.stream_app
        async def work_async(reading: Reading) -> list[tuple[str, Peak]]:
            return [("target", peak(reading))]

    elif kind == "batch":

        @app.stream_app
        def work_batch(readings: list[Reading]) -> list[tuple[str, Peak]]:
            return [("target", peak(reading)) for reading in readings]

    else:

        @app.stream_app
        def work(reading: Reading) -> list[tuple[str, Peak]]:
            return [("target", peak(reading))]
