"""A call of the client that may block longer than we can wait."""

from __future__ import annotations

import threading
from collections.abc import Callable


def within(seconds: float, call: Callable[[], object]) -> bool:
    """Make a call; False if it goes on after so many seconds, on a thread that holds up nobody.

    What it raises in time is raised here.
    """
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001  (it is the caller's, and the caller gets it)
            raised.append(error)

    thread = threading.Thread(target=run, name="penstock-kafka-bounded", daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    return not thread.is_alive()
