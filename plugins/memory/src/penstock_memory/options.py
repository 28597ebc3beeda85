"""What a queue in memory can be told under `config:`."""

from __future__ import annotations

from pydantic import Field, field_validator

from penstock.options import ConnectorOptions
from penstock_memory.address import Address


class MemoryOptions(ConnectorOptions):
    """Options of the connector `memory`.

    Attributes:
        url: None: the queue lives in this process. `unix:///absolute/path.sock` or `tcp://127.0.0.1:PORT`: it lives in
            a broker that all processes of this machine share, and that the first one starts.
        namespace: Queues of the same name in different namespaces have nothing to do with each other.
        vt: Seconds for which a delivery is hidden from others; the engine extends it while the message is in work.
        max_length: For an output: unsettled messages at which the queue is full, and produce waits; 0 is never.
            A cycle of engines (A feeds B feeds A) can fill up until none of them can go on: leave it at 0 there.
        linger: For whoever starts the broker: seconds after which it ends, when nobody is connected and its queues
            are empty.
        keep: The same, when messages are left: they are lost then.
    """

    url: str | None = None
    namespace: str = Field(default="default", min_length=1)
    vt: float = Field(default=60.0, gt=0)
    max_length: int = Field(default=0, ge=0)
    linger: float = Field(default=10.0, ge=0.1)
    keep: float = Field(default=3600.0, ge=0.1)

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        if url is not None:
            Address.parse(url)
        return url
