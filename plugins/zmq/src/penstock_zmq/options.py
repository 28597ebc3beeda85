"""What stands under the `config:` key of a ZeroMQ queue. No client library is imported here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, SecretStr

from penstock.options import ConnectorOptions, FromEnvironment, OptionProblem, Role

_ADDRESS = re.compile(r"(tcp://(?P<host>\[[^]]+\]|[^:/]+):\d+|ipc://.+)")
_LOCAL = ("127.", "localhost", "[::1]")
_KEY = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")  # Z85


class ZmqOptions(ConnectorOptions):
    """Options of the connectors `zmq` and `zmq.reply`.

    Attributes:
        host: The host of the address, if the queue's `value` is not one. From ZMQ_HOST.
        port: Its port, if the queue's `value` is not an address. From ZMQ_PORT.
        bind: Whether the socket binds the address or connects to it; none: an input binds, an output connects.
        high_water_mark: Messages that a socket buffers for each peer. They are lost with the process.
        max_message_bytes: The largest message; a peer that sends a larger one is cut off.
        timeout: Seconds that an output waits for a peer that takes its messages.
        linger: Seconds that a stop waits until what was sent has left the process.
        heartbeat: Seconds between two heartbeats; a peer that misses three is cut off. 0: none.
        curve_secret_key: Our secret key for encryption, 40 characters as `zmq.curve_keypair()` makes it. From
            ZMQ_CURVE_SECRET_KEY.
        curve_public_key: The public key that belongs to it; for a socket that connects.
        curve_server_key: The public key of the side that binds; for a socket that connects.
        insecure: Bind an address of the network without encryption: any program that reaches it can send and read.
    """

    host: Annotated[str, FromEnvironment("ZMQ_HOST")] = "127.0.0.1"
    port: Annotated[int | None, FromEnvironment("ZMQ_PORT")] = Field(default=None, ge=1, le=65535)
    bind: bool | None = None
    high_water_mark: int = Field(default=1000, ge=1, le=1_000_000)
    max_message_bytes: int = Field(default=16 * 1024 * 1024, ge=1)
    timeout: float = Field(default=5.0, gt=0, le=300)
    linger: float = Field(default=2.0, ge=0, le=8)
    heartbeat: float = Field(default=10.0, ge=0, le=3600)
    curve_secret_key: Annotated[SecretStr | None, FromEnvironment("ZMQ_CURVE_SECRET_KEY")] = None
    curve_public_key: str | None = None
    curve_server_key: str | None = None
    insecure: bool = False

    def address(self, name: str) -> str:
        """The address of a queue: its `value`, else host and port."""
        return name if "://" in name or self.port is None else f"tcp://{self.host}:{self.port}"

    def binds(self, role: Role) -> bool:
        """Whether the socket of this role binds."""
        return self.bind if self.bind is not None else role == "input"


def check(name: str, options: ZmqOptions, role: Role) -> Sequence[str]:
    """One sentence for each problem of a queue's options."""
    address = options.address(name)
    found = _ADDRESS.fullmatch(address)
    if found is None:
        return [
            f"{address!r} is not an address: write 'tcp://host:port' or 'ipc:///path' as 'value', or set 'port' "
            "(ZMQ_PORT)"
        ]
    problems: list[str] = []
    binds, secret = options.binds(role), options.curve_secret_key
    keys = {
        "curve_secret_key": None if secret is None else secret.get_secret_value(),
        "curve_public_key": options.curve_public_key,
        "curve_server_key": options.curve_server_key,
    }
    wanted = ("curve_secret_key",) if binds else tuple(keys)
    if any(keys.values()):
        problems += [
            OptionProblem(f"encryption of a socket that {'binds' if binds else 'connects'} needs {key!r}", key)
            for key in wanted
            if keys[key] is None
        ]
    problems += [
        OptionProblem(f"{key!r} is not a key of 40 characters, as `zmq.curve_keypair()` makes it", key)
        for key, value in keys.items()
        if value is not None and not _KEY.fullmatch(value)
    ]
    host = found["host"]
    if binds and host and not host.startswith(_LOCAL) and secret is None and not options.insecure:
        problems.append(
            f"{address} can be reached from the network, and nothing is encrypted; give 'curve_secret_key', bind "
            "127.0.0.1, or write 'insecure: true'"
        )
    return problems
