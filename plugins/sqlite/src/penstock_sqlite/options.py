"""What stands under the `config:` key of a queue in an SQLite file. SQLite is not imported here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from penstock.options import ConnectorOptions, FromEnvironment


class SqliteOptions(ConnectorOptions):
    """Options of the connector `sqlite`.

    Attributes:
        path: The file that holds the queues. A relative path starts at the working directory.
        create: Create the file and its tables, and bring old tables up to date; false waits until the file exists.
        lease: Seconds for which a delivery is hidden from others; extended while the function works on the message. If
            a process dies, others get its messages at once.
        poll_interval: Longest pause, in seconds, between two looks at an empty queue, for messages of other processes.
            Those of the same process wake the consumer at once.
        timeout: Seconds after which a file that another program has locked counts as away.
        synchronous: full: what is confirmed survives a power cut. normal: it survives the end of every process, but a
            power cut may undo what was confirmed just before.
    """

    path: Annotated[str, FromEnvironment("SQLITE_PATH")] = Field(min_length=1)
    create: bool = True
    lease: float = Field(default=60.0, ge=0.1, le=1e7)
    poll_interval: float = Field(default=0.05, ge=0.001, le=60)
    timeout: float = Field(default=10.0, gt=0, le=3600)
    synchronous: Literal["full", "normal"] = "full"

    @field_validator("path")
    @classmethod
    def _is_a_path(cls, path: str) -> str:
        if path == ":memory:":
            raise ValueError("':memory:' is not a file; for queues inside one process use `connector: memory`")
        if path.startswith(("file:", "sqlite:")):
            raise ValueError(f"{path!r} is a URL; write the plain path of a file")
        if path.endswith("/"):
            raise ValueError(f"{path!r} is a directory; add the name of a file")
        if "\0" in path:
            raise ValueError("a path cannot have a NUL character")
        return path
