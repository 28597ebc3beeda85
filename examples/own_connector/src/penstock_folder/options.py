"""What stands under the `config:` key of such a queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from penstock.options import ConnectorOptions, FromEnvironment, Role


class FolderOptions(ConnectorOptions):
    """Options of the connector `folder`.

    Attributes:
        path: The directory that holds the queues, each a directory in it. From PENSTOCK_FOLDER.
        poll_interval: Seconds between two looks at an empty queue.
    """

    path: Annotated[str, FromEnvironment("PENSTOCK_FOLDER")]
    poll_interval: float = Field(default=0.05, gt=0, le=10)


def check(name: str, options: FolderOptions, role: Role) -> Sequence[str]:  # noqa: ARG001
    """What a model cannot say: here, that the queue's name becomes the name of a directory."""
    if "/" in name or name.startswith("."):
        return [
            f"'value' is {name!r}, which cannot be the name of a directory; use one without '/' and no dot in front"
        ]
    return []
