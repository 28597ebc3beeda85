"""What stands under the `config:` key of a Storage Queue. No client library is imported here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from penstock.options import ConnectorOptions, FromEnvironment, Role
from penstock.tls import TlsOptions, tls_problems
from penstock_azure.connection_strings import parts_of, require, require_key

LONGEST = 7 * 24 * 3600
"""Seconds; the longest time for which Azure hides a message."""

_NAME = re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,62}")
_DEVELOPMENT = "usedevelopmentstorage"


class StorageQueueOptions(ConnectorOptions):
    """Options of the connector `storage_queue`.

    Attributes:
        connection_string: The storage account and its key, or a shared access signature. From
            AZURE_STORAGE_CONNECTION_STRING.
        visibility_timeout: Seconds for which a received message is hidden from others; kept alive while it is worked
            on.
        encoding: base64, as Azure's own tools write, for any bytes; text for programs that read and write plain text.
        create: Create the queue if it does not exist.
        poll_interval: Longest pause, in seconds, between two looks at an empty queue; each look is a billed request.
        requests_at_once: How many requests of one kind are under way at a time; each message that is sent, settled or
            extended is a request.
        timeout: Seconds after which a server that does not answer counts as away.
        tls: How to verify the server, where the connection string says https.
    """

    connection_string: Annotated[SecretStr, FromEnvironment("AZURE_STORAGE_CONNECTION_STRING")]
    visibility_timeout: int = Field(default=60, ge=1, le=LONGEST)
    encoding: Literal["base64", "text"] = "base64"
    create: bool = False
    poll_interval: float = Field(default=1.0, ge=0.01, le=60)
    requests_at_once: int = Field(default=16, ge=1, le=100)
    timeout: float = Field(default=10.0, gt=0, le=300)
    tls: TlsOptions = TlsOptions()

    @field_validator("connection_string")
    @classmethod
    def _it_names_an_account(cls, value: SecretStr) -> SecretStr:
        parts = parts_of(value.get_secret_value())
        if _DEVELOPMENT in parts:
            return value
        if "sharedaccesssignature" in parts:
            require(parts, "QueueEndpoint")
        else:
            require(parts, "AccountName", "AccountKey")
            require_key(parts, "AccountKey")
        return value

    @property
    def address(self) -> str:
        """The server's host and port, for messages."""
        parts = parts_of(self.connection_string.get_secret_value())
        if _DEVELOPMENT in parts:
            return "127.0.0.1:10001"
        if endpoint := parts.get("queueendpoint"):
            return urlsplit(endpoint).netloc.rpartition("@")[2]
        return f"{parts['accountname']}.queue.{parts.get('endpointsuffix', 'core.windows.net')}"


def check(name: str, options: StorageQueueOptions, role: Role) -> Sequence[str]:  # noqa: ARG001  (the same for both)
    """One sentence a problem.

    Args:
        name: The queue's name in the account.
        options: Its options.
        role: What it is opened for.
    """
    problems: list[str] = []
    if not _NAME.fullmatch(name):
        problems.append(
            f"{name!r} is not a name of a Storage Queue: 3 to 63 small letters and digits, single hyphens between them"
        )
    return [*problems, *tls_problems(options.tls)]
