"""Adds up readings, a batch at a time: one record for the database instead of four."""

from pydantic import BaseModel

from penstock import Engine


class Reading(BaseModel):
    """What a sensor says."""

    sensor: str
    degrees: float


app = Engine(app_name="sums", input_queue="readings", output_queues=["sums"], config="queues.yml")


@app.stream_app
def add_up(readings: list[Reading]) -> tuple[str, dict[str, float]]:
    total = sum(reading.degrees for reading in readings)
    return "sums", {"readings": len(readings), "total": total, "warmest": max(each.degrees for each in readings)}
