"""For connectors: the answers of `probe`, which finds out whether a queue can be used, and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Question = Literal["reachable", "authorised", "exists", "group", "clock"]

CLOCK_TOLERANCE = 2.0  # seconds by which two clocks may differ; delays and leases are then off by as much


@dataclass(frozen=True, slots=True)
class Probed:
    """The answer to one question about a queue.

    Attributes:
        question: "reachable": the server answers; "authorised": this user may use the queue in this role; "exists": the
            queue does; "group": the consumer group can be read; "clock": the server's clock is that of this machine.
        ok: Whether it is as a worker needs it; None if the server could not be asked.
        text: What was found; where it is not well, also what to do.
    """

    question: Question
    ok: bool | None
    text: str


def clock_answer(server: float, before: float, after: float) -> Probed:
    """The answer about the clocks.

    Args:
        server: The server's time, in seconds since the epoch.
        before, after: `time.time()` just before it was asked, and just after it answered.
    """
    skew = server - after if server > after else min(0.0, server - before)
    if abs(skew) <= CLOCK_TOLERANCE:
        return Probed("clock", True, "the clocks agree")
    direction = "ahead of" if skew > 0 else "behind"
    return Probed(
        "clock",
        False,
        f"the server's clock is {abs(skew):.0f} s {direction} this machine's, and delays and leases may be off by as "
        f"much; synchronise both (NTP)",
    )
