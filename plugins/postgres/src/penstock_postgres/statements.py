"""The SQL files: read, their names filled in, quoted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Protocol

from psycopg import sql

from penstock_postgres.connection import Parameters, Query, Rows

_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)


class Runs(Protocol):
    """Whatever runs statements: a connection of ours."""

    async def run(self, query: Query, parameters: Parameters | None = None) -> Rows:
        """See `Connection.run`."""


@cache
def text(path: str) -> str:
    """The text of `sql/<path>.sql`, without its comments: the server need not read them."""
    source = (files(__package__) / "sql").joinpath(*f"{path}.sql".split("/")).read_text(encoding="utf-8")
    return _COMMENT.sub("", source).strip()


def statement(path: str, names: Mapping[str, sql.Composable]) -> sql.Composed:
    """A statement with the names of this installation."""
    return sql.SQL(text(path)).format(**names)


def migrations(folder: str) -> list[tuple[int, str]]:
    """The numbered files of a folder, in order: (number, path for `statement`)."""
    found = [entry.name for entry in (files(__package__) / "sql").joinpath(*folder.split("/")).iterdir()]
    names = sorted(name.removesuffix(".sql") for name in found if name.endswith(".sql"))
    return [(int(name.split("_", 1)[0]), f"{folder}/{name}") for name in names]
