"""Tables: plain and stable on a pipe, folded and coloured on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.terminals import Terminal, assert_screen, set_colours

from penstock.cli.dead_letters import print_groups
from penstock.cli.main import main
from penstock.cli.plugins import print_plugins
from penstock.operations.letters import Group
from penstock.plugins.registry import ListedName
from penstock.terminal import colours
from penstock.terminal.tables import plain, print_table

HEADER = ("queue", "state", "lag", "what")
ROWS = [
    ("orders", "ok", "12", "a sentence that is longer than a narrow terminal, [bold]with brackets[/bold] in it"),
    ("a-queue-with-a-longer-name", "broken", "1,234,567", "日本語\x1b[31m"),
]
SCREENS = Path(__file__).parent / "screens"


def show() -> None:
    """Print the table."""
    print_table(ROWS, HEADER, indent="  ", right=("lag",), styles={"ok": "green", "broken": "bold red"})


def test_a_row_is_a_line_on_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """Whole, with no escape sequence, so that `grep` and `awk` find everything."""
    show()

    assert capsys.readouterr().out.splitlines() == [
        "  queue                       state         lag  what",
        f"  orders                      ok             12  {ROWS[0][3]}",
        "  a-queue-with-a-longer-name  broken  1,234,567  日本語\\x1b[31m",
    ]


def test_a_table_without_rows_or_header_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Also where it would be coloured."""
    for choice in ("never", "always"):
        colours.choose(choice)
        try:
            print_table([])
        finally:
            colours.choose("auto")
    assert capsys.readouterr().out.strip() == ""


def test_a_plain_table_shrinks_its_widest_columns_where_a_width_is_given() -> None:
    """The other columns stay whole."""
    assert list(plain(ROWS[:1], HEADER, width=60)) == [
        "queue   state  lag  what",
        "orders  ok     12   a sentence that is longer than a narrow…",
    ]


def show_plugins() -> None:
    """Print the table of `penstock plugins`."""
    ours = ListedName("model_handler", "pydantic", "penstock-core", "0.1.0", "built-in", "ok", "", "")
    problem = (
        "acme-queues 2.1.0 (acme): it was built for PLUGIN_API 9, this core has 1; pip install --upgrade penstock-core"
    )
    theirs = ListedName(
        "profile", "acme-orjson-pydantic-batch", "acme-queues", "2.1.0", "third-party", "incompatible", problem, ""
    )
    print_plugins([ours, theirs])


def show_letters() -> None:
    """Print the table of `penstock dead-letters list`."""
    first, last = datetime(2026, 11, 27, 2, 0, tzinfo=UTC), datetime(2026, 11, 27, 3, 30, 1, 500_000, tzinfo=UTC)
    print_groups(
        [
            Group("function", "ValueError", "orders", "invoicing", 1_204, first, last, "rejects/0/1203"),
            Group("decode", "UnicodeDecodeError", "orders", "invoicing", 3, last, last, "rejects/2/7"),
        ]
    )


def show_check() -> None:
    """Print what `penstock check` does."""
    Path("queues.yml").write_text(
        "queues:\n  orders: {profile: memory-pydantic, value: the-orders-of-the-shop-on-the-corner}\n"
        "worker:\n  metrics_host: metrics.internal.shop.example.com\n"
    )
    assert main(["check", "queues.yml"]) == 0


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize(
    ("name", "print_it"),
    [("table", show), ("plugins", show_plugins), ("letters", show_letters), ("check", show_check)],
)
def test_a_table_fits_its_terminal(
    name: str, print_it: Callable[[], None], columns: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Long cells are folded, what matters less is left out, and brackets are not markup."""
    set_colours(monkeypatch)
    monkeypatch.chdir(tmp_path)
    with Terminal(columns) as terminal, terminal.stream() as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        print_it()
        print("the end", flush=True)
        shown = terminal.wait_until(lambda lines: lines[-1:] == ["the end"])

        assert_screen(shown[:-1], SCREENS / f"{name}_{columns}.txt")
        assert name not in ("table", "plugins") or b"\x1b[32mok" in terminal.raw


def test_without_rich_a_terminal_gets_the_plain_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal itself breaks what is too long."""
    set_colours(monkeypatch)
    monkeypatch.setitem(sys.modules, "rich", None)
    with Terminal(200) as terminal, terminal.stream() as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        show()
        terminal.wait_for("1b[31m")

        assert terminal.lines()[1] == f"  orders                      ok             12  {ROWS[0][3]}"
        assert b"\x1b" not in terminal.raw


class Stream:
    """A stream that is a terminal, or is not."""

    def __init__(self, tty: bool) -> None:
        self._tty = tty

    def isatty(self) -> bool:
        """As the file's."""
        return self._tty


@pytest.mark.parametrize(
    ("tty", "choice", "environment", "coloured"),
    [
        (True, "auto", {}, True),
        (False, "auto", {}, False),
        (True, "auto", {"NO_COLOR": "1"}, False),
        (True, "auto", {"NO_COLOR": ""}, True),
        (False, "auto", {"FORCE_COLOR": "1"}, True),
        (False, "auto", {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (True, "auto", {"TERM": "dumb"}, False),
        (True, "auto", {"TERM": ""}, False),
        (True, "always", {"NO_COLOR": "1", "TERM": "dumb"}, True),
        (True, "never", {"FORCE_COLOR": "1"}, False),
    ],
)
def test_what_decides_about_colours(
    monkeypatch: pytest.MonkeyPatch, tty: bool, choice: colours.Choice, environment: dict[str, str], coloured: bool
) -> None:
    """The option, then NO_COLOR, then FORCE_COLOR, then the stream."""
    set_colours(monkeypatch)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(colours, "_choice", choice)

    assert colours.is_coloured(Stream(tty)) is coloured  # type: ignore[arg-type]
    assert (colours.red("no", Stream(tty)) != "no") is coloured  # type: ignore[arg-type]
