"""The work that every contender does, and the data it does it on: what is compared must be the same."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pydantic import BaseModel


class Reading(BaseModel):
    """What comes in: about 200 bytes as JSON."""

    id: int
    user: str
    values: list[float]
    note: str


class Peak(BaseModel):
    """What goes out."""

    id: int
    user: str
    max: float


def peak(reading: Reading) -> Peak:
    """The function under the framework."""
    return Peak(id=reading.id, user=reading.user, max=max(reading.values))


def readings(count: int) -> Iterator[Reading]:
    """The objects of the bodies."""
    for i in range(count):
        yield Reading(id=i, user=f"user-{i % 100}", values=[1.0 * i, 2.0, 3.0], note="x" * 110)


def bodies(count: int) -> Iterator[tuple[bytes, bytes]]:
    """Key and body of each message; the same every time."""
    for i in range(count):
        reading = {"id": i, "user": f"user-{i % 100}", "values": [1.0 * i, 2.0, 3.0], "note": "x" * 110}
        yield str(i % 100).encode(), json.dumps(reading).encode()
