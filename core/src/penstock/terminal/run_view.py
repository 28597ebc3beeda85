"""What `penstock run` shows of its engines: a table at the bottom of a terminal; elsewhere, now and then, a log line.

The numbers are those of the metrics. Nothing is counted for this, and nothing is done for a message.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from penstock.observability.counting import EngineMetrics
from penstock.observability.printable import one_line
from penstock.terminal.bars import Bar, rich_bars
from penstock.terminal.colours import is_rich, is_terminal
from penstock.terminal.rates import Numbers, Rates
from penstock.terminal.tables import GAP, cut, rich_table

if TYPE_CHECKING:
    from rich.console import Group

log = logging.getLogger("penstock.progress")

LOG_INTERVAL = 10.0  # seconds between two lines about one engine
HEADER = ("engine", "queue", "rate", "lag", "in flight", "failed", "dead", "p95")
NUMBERS = HEADER[2:]
NARROW = 70  # columns below which the queue is left out


class RunView:
    """Reads the numbers of a run.

    Args:
        engines: The counters of each engine.
        bars: How far the files are that are fed.
        drain: Whether the run ends when its queues are empty.
        clock: Like `monotonic`.
    """

    def __init__(
        self,
        engines: Callable[[], Sequence[EngineMetrics]],
        bars: Callable[[], Sequence[Bar]],
        drain: bool,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._engines = engines
        self._bars = bars
        self._clock = clock
        self._begun = clock()
        self._drain = Bar("drain", clock=clock) if drain else None
        self._rates: dict[EngineMetrics, Rates] = {}
        self._logged: dict[Rates, Numbers] = {}

    def numbers(self) -> Sequence[tuple[Rates, Numbers]]:
        """What each engine does now."""
        now = self._clock()
        for counters in self._engines():
            if counters not in self._rates:
                self._rates[counters] = Rates(counters, self._begun)
        return [(rates, rates.numbers(now)) for rates in self._rates.values()]

    def rich_content(self, columns: int) -> Group:
        """Everything, for rich."""
        from rich.console import Group

        numbers = self.numbers()
        table = rich_table(*_cells(numbers, columns), right=NUMBERS, style=_style)
        bars = [*self._bars(), *self._how_far([each for _rates, each in numbers])]
        return Group(table, rich_bars(bars)) if bars else Group(table)

    def _how_far(self, numbers: Sequence[Numbers]) -> Sequence[Bar]:
        if self._drain is None:
            return ()
        self._drain.done = sum(each.settled for each in numbers)
        waiting = [each.lag for each in numbers if each.lag is not None]
        left = sum(waiting) + sum(each.in_flight for each in numbers)
        self._drain.total = self._drain.done + left if len(waiting) == len(numbers) else None
        return (self._drain,)

    def log_numbers(self) -> None:
        """Log a line for each engine that has done anything since its last line."""
        for rates, numbers in self.numbers():
            if _did_nothing(numbers, self._logged.get(rates)):
                continue
            self._logged[rates] = numbers
            log.info("%s", _sentence(rates, numbers), extra=_fields(rates, numbers))


@contextmanager
def shown(view: RunView) -> Iterator[None]:
    """Show a run on standard error while the block runs."""
    if is_terminal(sys.stderr) and is_rich(sys.stderr):
        from penstock.terminal.display import Display

        with Display(view.rich_content, sys.stderr):
            yield
        return
    ended = threading.Event()

    def write() -> None:
        while not ended.wait(LOG_INTERVAL):
            view.log_numbers()

    threading.Thread(target=write, name="penstock-progress", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _cells(numbers: Sequence[tuple[Rates, Numbers]], columns: int) -> tuple[list[list[str]], list[str]]:
    """The rows of the table, and its header. Names are cut until it fits, because half a number is a wrong one."""
    header = [title for title in HEADER if title != "queue" or columns >= NARROW]
    rows = [_row(each) for _rates, each in numbers]
    widths = [max(map(len, column)) + len(GAP) for column in zip(NUMBERS, *rows, strict=True)]
    names = len(header) - len(NUMBERS)
    room = max((columns - sum(widths)) // names - len(GAP), 1)
    shown = [
        [*(cut(one_line(name), room) for name in (rates.engine, rates.queue)[:names]), *row]
        for (rates, _each), row in zip(numbers, rows, strict=True)
    ]
    return shown, header


def _row(numbers: Numbers) -> Sequence[str]:
    # Padded, so that columns seldom move.
    return [
        f"{_short(numbers.rate):>5}/s",
        f"{'?' if numbers.lag is None else _short(numbers.lag):>5}",
        *map(_short, (numbers.in_flight, numbers.failed, numbers.dead)),
        f"{_duration(numbers.call_seconds):>8}",
    ]


def _style(title: str, cell: str) -> str:
    return "red" if title in ("failed", "dead") and cell != "0" else ""


def _did_nothing(numbers: Numbers, before: Numbers | None) -> bool:
    """An idle engine writes nothing: its last line still holds."""
    if before is None:
        return not (numbers.settled or numbers.in_flight or numbers.lag)
    return (numbers.settled, numbers.failed, numbers.in_flight, numbers.lag) == (
        before.settled,
        before.failed,
        before.in_flight,
        before.lag,
    )


def _sentence(rates: Rates, numbers: Numbers) -> str:
    lag = "an unknown number waits" if numbers.lag is None else f"{numbers.lag:,} wait"
    return (
        f"engine {rates.engine!r}, queue {rates.queue!r}: {numbers.rate:,.0f} messages/s, {lag}, "
        f"{numbers.in_flight:,} in flight, {numbers.failed:,} failed, {numbers.dead:,} dead-lettered, "
        f"p95 of a call {_duration(numbers.call_seconds)}"
    )


def _fields(rates: Rates, numbers: Numbers) -> dict[str, object]:
    return {
        "engine": rates.engine,
        "queue": rates.queue,
        "connector": rates.connector,
        "rate": round(numbers.rate, 1),
        "lag": numbers.lag,
        "in_flight": numbers.in_flight,
        "failed": numbers.failed,
        "dead": numbers.dead,
        "call_seconds_p95": numbers.call_seconds,
    }


def _short(number: float) -> str:
    """A number in six characters, up to a billion."""
    return (
        f"{number:,.0f}" if number < 100_000 else f"{number / 1e3:,.0f}k" if number < 1e6 else f"{number / 1e6:,.1f}M"
    )


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds == float("inf"):
        return "> 300 s"
    if seconds >= 1:
        return f"≤ {seconds:g} s"
    return f"≤ {seconds * 1000:g} ms"
