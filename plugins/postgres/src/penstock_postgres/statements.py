"""Reads the SQL files and fills in the names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Protocol

from psycopg import sql

from penstock_postgres.session import Parameters, Query, Rows

_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)


class Runs(Protocol):
    """What runs statements: a `Session`."""

    async def run(self, query: Query, parameters: Parameters | None = None) -> Rows:
        """See `Session.run`."""


@cache
def text(path: str) -> str:
    """The text of `sql/<path>.sql` without its comments, which the server need not read."""
    source = (files(__package__) / "sql").joinpath(*f"{path}.sql".split("/")).read_text(encoding="utf-8")
    return _COMMENT.sub("", source).strip()


def statement(path: str, names: Mapping[str, sql.Composable]) -> sql.Composed:
    """The statement `sql/<path>.sql` with these names."""
    return sql.SQL(text(path)).format(**names)


def migrations(folder: str) -> list[tuple[int, str]]:
    """The numbered files of a folder in order, as (number, path for `statement`)."""
    found = [entry.name for entry in (files(__package__) / "sql").joinpath(*folder.split("/")).iterdir()]
    names = sorted(name.removesuffix(".sql") for name in found if name.endswith(".sql"))
    return [(int(name.split("_", 1)[0]), f"{folder}/{name}") for name in names]
