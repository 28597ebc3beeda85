"""What stands under the `config:` key of a timer. No client library is imported here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from penstock.options import ConnectorOptions


class TimerOptions(ConnectorOptions):
    """Options of the connector `timer`.

    Attributes:
        every: Seconds between two ticks, which are at whole multiples since 1970: `every: 60` ticks at each full
            minute.
        cron: A cron expression of five fields, or of six with seconds first.
        zone: The time zone of `cron`.
        missed: What becomes of ticks that were due while no worker ran: `once`, one tick makes up for all of them;
            `skip`, they are passed over; `all`, each is delivered, at most `max_missed`, and ticks may overlap.
        max_missed: With `all`, how many of the newest are delivered.
        state: The file that keeps the last settled tick, and its lock, by which only one worker ticks; null: each
            worker ticks, from its start on.
    """

    every: float | None = Field(default=None, ge=0.1, le=31_536_000)
    cron: str | None = Field(default=None, min_length=1)
    zone: str = "UTC"
    missed: Literal["once", "skip", "all"] = "once"
    max_missed: int = Field(default=1_000, ge=1, le=100_000)
    state: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_schedule(self) -> TimerOptions:
        if (self.every is None) == (self.cron is None):
            raise ValueError("write `every` or `cron`, and not both")
        return self
