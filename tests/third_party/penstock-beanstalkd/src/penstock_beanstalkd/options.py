"""What stands under a queue's `config:` key. No client library is imported here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from penstock.options import ConnectorOptions, FromEnvironment, Role
from pydantic import Field

TUBE = re.compile(r"[A-Za-z0-9+/;.$_()][A-Za-z0-9+/;.$_()-]{0,199}")


class BeanstalkdOptions(ConnectorOptions):
    """Options of the connector `beanstalkd`.

    Attributes:
        host: The server. From BEANSTALKD_HOST.
        port: Its port. From BEANSTALKD_PORT.
        lease: Seconds for which a delivery is hidden from others: beanstalkd's time to run, which the producer gives to
            each job. The engine extends it while the message is in work.
        priority: Priority of the records that do not choose one; 0 is the most urgent.
        poll_interval: The longest pause, in seconds, between two looks at an empty tube.
        timeout: Seconds after which a server that does not answer counts as away.
    """

    host: Annotated[str, FromEnvironment("BEANSTALKD_HOST")] = "localhost"
    port: Annotated[int, FromEnvironment("BEANSTALKD_PORT")] = Field(default=11300, ge=1, le=65535)
    lease: int = Field(default=60, ge=1)
    priority: int = Field(default=2**16, ge=0, lt=2**32)
    poll_interval: float = Field(default=0.02, gt=0, le=60)
    timeout: float = Field(default=5.0, gt=0, le=60)


def check(name: str, options: BeanstalkdOptions, role: Role) -> Sequence[str]:
    """What a type cannot say: the server would take another name for a mistake of the protocol, and not answer."""
    if TUBE.fullmatch(name):
        return []
    return [f"value {name!r} is not a tube's name: at most 200 of A-Z a-z 0-9 + / ; . $ _ ( ) -, no '-' first"]
