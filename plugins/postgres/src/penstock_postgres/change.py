"""The data model of a change, with the user's own model of the table's rows.

class User(BaseModel):
    id: int
    name: str
    photo: str | None = None  # large values come only if they were changed

@app.stream_app
def on_change(change: Change[User]) -> None: ...
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel

Row = TypeVar("Row")

Operation = Literal["insert", "update", "delete", "truncate", "snapshot", "upsert"]


class Change(BaseModel, Generic[Row]):
    """One change of one row, or the truncation of a table.

    Attributes:
        operation: "snapshot" is a row that was there before the slot was; "upsert" comes from `postgres.poll`, which
            does not know whether a row is new.
        table: Schema and name, with a dot between them.
        key: The columns of the primary key, or of the table's replica identity. None for REPLICA IDENTITY FULL, and for
            "truncate".
        row: The row after the change; None for "delete" and "truncate".
        old: The row before it: its key, if that has changed or the row is gone; all of it with REPLICA IDENTITY FULL;
            else None.
        unchanged: Columns with large values that were not changed. The server does not send them, so `row` has no such
            field, which is not the same as null.
        lsn: Where in the server's log the transaction was committed.
        xid: Its id.
        committed_at: When.
    """

    operation: Operation
    table: str
    key: dict[str, Any] | None
    row: Row | None
    old: dict[str, Any] | None = None
    unchanged: list[str] = []
    lsn: str | None = None
    xid: int | None = None
    committed_at: datetime | None = None
