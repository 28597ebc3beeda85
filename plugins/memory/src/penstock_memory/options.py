"""What a queue in memory can be told under `config:`."""

from __future__ import annotations

from pydantic import Field

from penstock.options import ConnectorOptions


class MemoryOptions(ConnectorOptions):
    """Options of the connector `memory`.

    Attributes:
        namespace: Queues of the same name in different namespaces have nothing to do with each other.
        vt: Seconds for which a delivery is hidden from others; the engine extends it while the message is in work.
        max_length: For an output: unsettled messages at which the queue is full, and produce waits; 0 is never.
            A cycle of engines (A feeds B feeds A) can fill up until none of them can go on: leave it at 0 there.
    """

    namespace: str = Field(default="default", min_length=1)
    vt: float = Field(default=60.0, gt=0)
    max_length: int = Field(default=0, ge=0)
