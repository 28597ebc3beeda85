"""Tables: aligned plain text for pipes; for a terminal, by the optional library rich, tables that fit it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, TextIO

from penstock.observability.printable import one_line
from penstock.terminal.colours import is_coloured, is_rich, is_terminal

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

GAP = "  "
LEAST = 12  # columns that a cell keeps, however wide the table is
READABLE = 16  # columns that a folded cell should have
MOST = 60  # columns to which cells are filled up; one very long cell does not move the next column away
PAGE = 100  # columns of a text where no terminal limits it
UNLIMITED = 100_000  # columns of a coloured table that no terminal limits

Rows = Sequence[Sequence[str]]


def print_table(
    rows: Rows,
    header: Sequence[str] = (),
    *,
    indent: str = "",
    right: Collection[str] = (),
    styles: Mapping[str, str] | None = None,
    whole: Collection[str] = (),
    optional: Sequence[str] = (),
    width: int | None = None,
) -> None:
    """Print rows as a table on standard output.

    On a terminal, columns are left out and long cells are folded so that the table fits. Elsewhere a row is a line,
    stable for `grep`.

    Args:
        rows: The cells. What a terminal would obey is escaped.
        header: The title of each column; none if empty.
        indent: What each line begins with.
        right: Titles of the columns that are aligned to the right, as numbers are.
        styles: Cell → its style as rich writes it ("bold red"), where colours are on.
        whole: Titles of the columns whose cells are never folded, such as times; those aligned to the right never are.
        optional: Titles of the columns that a narrow terminal leaves out, the first one first.
        width: Columns that the table may take where no terminal limits it; longer cells are cut. None: as it needs.
    """
    rows = [[one_line(cell) for cell in row] for row in rows]
    if not is_rich(sys.stdout):
        for line in plain(rows, header, indent=indent, right=right, width=width):
            print(line)  # noqa: T201
        return
    from rich.padding import Padding

    on = console(sys.stdout)
    stiff = {*right, *whole}
    kept = _that_fit(rows, header, stiff, optional, on.width - len(indent))
    folded = rich_table(
        [[row[number] for number in kept] for row in rows],
        [header[number] for number in kept] if header else (),
        right=right,
        whole=stiff,
        style=lambda _title, cell: (styles or {}).get(cell, ""),
    )
    on.print(Padding(folded, (0, 0, 0, len(indent)), expand=False))


def print_text(text: str) -> None:
    """Print a paragraph on standard output, in lines that fit. Words are not split: they may be part of a command."""
    width = min(os.get_terminal_size(sys.stdout.fileno()).columns, PAGE) if is_terminal(sys.stdout) else PAGE
    for line in wrap(one_line(text), width, subsequent_indent=GAP, break_long_words=False, break_on_hyphens=False):
        print(line)  # noqa: T201


def plain(
    rows: Rows,
    header: Sequence[str] = (),
    *,
    indent: str = "",
    right: Collection[str] = (),
    width: int | None = None,
) -> Iterator[str]:
    """The lines of a table of plain text; arguments as of `print_table`."""
    shown = [header, *rows] if header else rows
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    if width is None:
        widths = [min(each, MOST) for each in widths]
    else:
        _shrink(widths, width - len(indent) - len(GAP) * (len(widths) - 1))
        shown = [[cut(cell, most) for cell, most in zip(row, widths, strict=True)] for row in shown]
    to_right = [title in right for title in header] or [False] * len(widths)
    for row in shown:
        cells = (
            cell.rjust(filled) if right_aligned else cell.ljust(filled)
            for cell, filled, right_aligned in zip(row, widths, to_right, strict=True)
        )
        yield (indent + GAP.join(cells)).rstrip()


def rich_table(
    rows: Rows,
    header: Sequence[str],
    *,
    right: Collection[str],
    whole: Collection[str] = (),
    style: Callable[[str, str], str],
) -> Table:
    """A table for rich; `style` is asked with the title of a column and a cell, the rest is as of `print_table`."""
    from rich.table import Table
    from rich.text import Text

    titles = header or [""] * len(rows[0] if rows else ())
    table = Table(box=None, pad_edge=False, padding=(0, len(GAP), 0, 0), show_header=bool(header), header_style="bold")
    for title in titles:
        to_right = title in right
        no_wrap = to_right or title in whole
        table.add_column(Text(title), justify="right" if to_right else "left", overflow="fold", no_wrap=no_wrap)
    for row in rows:
        # As Text: brackets in a name are not markup.
        table.add_row(*(Text(cell, style=style(title, cell)) for title, cell in zip(titles, row, strict=True)))
    return table


def console(stream: TextIO) -> Console:
    """What renders for a stream, in its colours and its width."""
    from rich.console import Console

    return Console(
        file=stream,
        # Not left to rich, which asks the standard streams, whichever stream it writes to.
        width=os.get_terminal_size(stream.fileno()).columns if is_terminal(stream) else UNLIMITED,
        force_terminal=True,
        color_system="auto" if is_coloured(stream) else None,
        markup=False,
        emoji=False,
        highlight=False,
    )


def rendered(what: RenderableType, on: Console) -> list[str]:
    """The lines of something that rich renders, in colours, none wider than the console."""
    with on.capture() as captured:
        on.print(what, crop=True)
    return captured.get().splitlines()


def _that_fit(
    rows: Rows, header: Sequence[str], stiff: Collection[str], optional: Sequence[str], width: int
) -> Sequence[int]:
    """The columns that a terminal shows: without optional ones, if cells would be folded to less than `READABLE`."""
    shown = [header, *rows] if header else rows
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    kept = list(range(len(widths)))

    def needed() -> int:
        least = [widths[n] if header and header[n] in stiff else min(widths[n], READABLE) for n in kept]
        return sum(least) + len(GAP) * (len(least) - 1)

    for title in optional:
        if needed() > width:
            kept.remove(header.index(title))
    return kept


def cut(text: str, width: int) -> str:
    """A text in so many columns at most."""
    return text if len(text) <= width else text[: width - 1] + "…"


def _shrink(widths: list[int], room: int) -> None:
    """Shrink the widest columns until the table fits."""
    while sum(widths) > room and max(widths) > LEAST:
        widths[widths.index(max(widths))] -= 1
