"""Tables: aligned plain text for pipes; for a terminal, by the optional library rich, tables that fit it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from penstock.observability.printable import one_line
from penstock.terminal.colours import is_coloured, is_rich, is_terminal

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

GAP = "  "
LEAST = 12  # columns that a cell keeps, however wide the table is
UNLIMITED = 100_000  # columns of a coloured table that no terminal limits

Rows = Sequence[Sequence[str]]


def print_table(
    rows: Rows,
    header: Sequence[str] = (),
    *,
    indent: str = "",
    right: Collection[str] = (),
    styles: Mapping[str, str] | None = None,
    width: int | None = None,
) -> None:
    """Print rows as a table on standard output.

    On a terminal, long cells are folded so that the table fits. Elsewhere a row is a line, stable for `grep`.

    Args:
        rows: The cells. What a terminal would obey is escaped.
        header: The title of each column; none if empty.
        indent: What each line begins with.
        right: Titles of the columns that are aligned to the right, as numbers are.
        styles: Cell → its style as rich writes it ("bold red"), where colours are on.
        width: Columns that the table may take where no terminal limits it; longer cells are cut. None: as it needs.
    """
    rows = [[one_line(cell) for cell in row] for row in rows]
    if not is_rich(sys.stdout):
        for line in plain(rows, header, indent=indent, right=right, width=width):
            print(line)  # noqa: T201
        return
    from rich.padding import Padding

    folded = rich_table(rows, header, right=right, style=lambda _title, cell: (styles or {}).get(cell, ""))
    console(sys.stdout).print(Padding(folded, (0, 0, 0, len(indent)), expand=False))


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
    if width is not None:
        _shrink(widths, width - len(indent) - len(GAP) * (len(widths) - 1))
    to_right = [title in right for title in header] or [False] * len(widths)
    for row in shown:
        cells = (_cell(*each) for each in zip(row, widths, to_right, strict=True))
        yield (indent + GAP.join(cells)).rstrip()


def rich_table(rows: Rows, header: Sequence[str], *, right: Collection[str], style: Callable[[str, str], str]) -> Table:
    """A table for rich; `style` is asked with the title of a column and a cell, the rest is as of `print_table`."""
    from rich.table import Table
    from rich.text import Text

    titles = header or [""] * len(rows[0] if rows else ())
    table = Table(box=None, pad_edge=False, padding=(0, len(GAP), 0, 0), show_header=bool(header), header_style="bold")
    for title in titles:
        to_right = title in right
        table.add_column(Text(title), justify="right" if to_right else "left", overflow="fold", no_wrap=to_right)
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


def cut(text: str, width: int) -> str:
    """A text in so many columns at most."""
    return text if len(text) <= width else text[: width - 1] + "…"


def _shrink(widths: list[int], room: int) -> None:
    """Shrink the widest columns until the table fits."""
    while sum(widths) > room and max(widths) > LEAST:
        widths[widths.index(max(widths))] -= 1


def _cell(text: str, width: int, to_right: bool) -> str:
    text = cut(text, width)
    return text.rjust(width) if to_right else text.ljust(width)
