"""Progress bars: how far long work is, on a terminal only.

with progress("replay of rejects", total=10_000) as bar:
    bar.advance(100)
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from penstock.observability.printable import one_line
from penstock.terminal.colours import is_rich, is_terminal

if TYPE_CHECKING:
    from rich.table import Table

BAR = 40  # columns of a bar at most


class Bar:
    """How far one piece of work is.

    Args:
        title: What is done.
        total: How many there are to do; None if that is not known.
        clock: Like `monotonic`.

    Attributes:
        done: How many are done.
    """

    def __init__(self, title: str, total: int | None = None, clock: Callable[[], float] = monotonic) -> None:
        self.title = title
        self.total = total
        self.done = 0
        self._clock = clock
        self._begun = clock()

    def advance(self, count: int = 1) -> None:
        """Note that more is done."""
        self.done += count

    def cells(self) -> tuple[str, str, str]:
        """Count, rate and the time that is left."""
        rate = self.done / max(self._clock() - self._begun, 0.001)
        if self.total is None:
            return f"{self.done:,}", f"{rate:,.0f}/s", ""
        left = _clock((self.total - self.done) / rate) if 0 < self.done <= self.total else ""
        return f"{self.done:,} of {self.total:,}", f"{rate:,.0f}/s", left and f"{left} left"


@contextmanager
def progress(title: str, total: int | None = None) -> Iterator[Bar]:
    """Show a bar on standard error while the block runs, if that is a terminal; it is gone afterwards.

    Args:
        title: What is done.
        total: How many there are to do; None if that is not known.
    """
    bar = Bar(title, total)
    if not (is_terminal(sys.stderr) and is_rich(sys.stderr)):
        yield bar
        return
    from penstock.terminal.display import Display

    with Display(lambda _columns: rich_bars([bar]), sys.stderr):
        yield bar


def rich_bars(bars: Iterable[Bar]) -> Table:
    """Bars below each other, for rich."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_column(max_width=BAR)  # it may wrap, and so it is what gives way on a narrow terminal
    for _column in range(3):
        table.add_column(no_wrap=True, justify="right")
    for bar in bars:
        drawn = "" if bar.total is None else ProgressBar(bar.total or 1, bar.done if bar.total else 1)
        table.add_row(Text(one_line(bar.title)), drawn, *map(Text, bar.cells()))
    return table


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
