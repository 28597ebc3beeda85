"""What a queue in memory can be told under `config:`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator, model_validator

from penstock.options import ConnectorOptions


class MemoryOptions(ConnectorOptions):
    """Options of the connector `memory`.

    Attributes:
        namespace: Queues of the same name in different namespaces have nothing to do with each other.
        vt: Seconds for which a delivery is hidden from others; the engine extends it while the message is in work.
        max_length: For an output: unsettled messages at which the queue is full, and produce waits; 0 is never.
            A cycle of engines (A feeds B feeds A) can fill up until none of them can go on: leave it at 0 there.
        queue: A `multiprocessing.Queue`, given as an object in Python: its items are the messages.
    """

    namespace: str = Field(default="default", min_length=1)
    vt: float = Field(default=60.0, gt=0)
    max_length: int = Field(default=0, ge=0)
    queue: Any = None

    @model_validator(mode="before")
    @classmethod
    def _stays_in_this_process(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and "url" in values:
            raise ValueError(
                "a queue in memory stays inside one process and has no 'url'; for several processes use "
                "`connector: sqlite` with the `path` of a file"
            )
        return values

    @field_validator("queue")
    @classmethod
    def _is_a_queue(cls, queue: Any) -> Any:
        if queue is not None and not all(callable(getattr(queue, each, None)) for each in ("get_nowait", "put")):
            raise ValueError("this is not a multiprocessing.Queue; give the object, in a configuration in Python")
        return queue
