"""What stands under the `config:` key of a Service Bus queue. No client library is imported here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from penstock.options import ConnectorOptions, FromEnvironment, Role
from penstock.tls import TlsOptions, tls_problems
from penstock_azure.connection_strings import parts_of, require


class ServiceBusOptions(ConnectorOptions):
    """Options of the connector `servicebus`.

    Attributes:
        connection_string: The namespace and its key, or a shared access signature. From
            AZURE_SERVICE_BUS_CONNECTION_STRING.
        lock_duration: Seconds for which the queue locks a message, as the queue has them; a shorter lock of a message
            that comes is noticed. Locks are renewed while a message is worked on.
        endpoint: Where to connect, `sb://host:port`, if a private endpoint or a gateway stands before the namespace.
        requests_at_once: How many messages are settled at a time. Locks are renewed one by one.
        timeout: Seconds after which a service that does not answer counts as away.
        tls: How to verify the service.
    """

    connection_string: Annotated[SecretStr, FromEnvironment("AZURE_SERVICE_BUS_CONNECTION_STRING")]
    lock_duration: float = Field(default=60.0, ge=1, le=300)
    endpoint: str | None = None
    requests_at_once: int = Field(default=500, ge=1, le=1000)
    timeout: float = Field(default=10.0, gt=0, le=300)
    tls: TlsOptions = TlsOptions()

    @field_validator("connection_string")
    @classmethod
    def _it_names_a_namespace(cls, value: SecretStr) -> SecretStr:
        parts = parts_of(value.get_secret_value())
        require(parts, "Endpoint")
        if "sharedaccesssignature" not in parts:
            require(parts, "SharedAccessKeyName", "SharedAccessKey")
        return value

    @property
    def address(self) -> str:
        """The service's host and port, for messages."""
        return urlsplit(self.endpoint or self._parts["endpoint"]).netloc

    @property
    def entity(self) -> str | None:
        """The only queue for which the connection string is, if it names one."""
        return self._parts.get("entitypath")

    @property
    def _parts(self) -> dict[str, str]:
        return dict(parts_of(self.connection_string.get_secret_value()))


def check(name: str, options: ServiceBusOptions, role: Role) -> Sequence[str]:  # noqa: ARG001  (the same for both)
    """One sentence a problem.

    Args:
        name: The queue's name in the namespace.
        options: Its options.
        role: What it is opened for.
    """
    problems: list[str] = []
    if options.entity not in (None, name):
        problems.append(f"the connection string is for the queue {options.entity!r}, not for {name!r}")
    if options.endpoint is not None and not options.endpoint.startswith("sb://"):
        problems.append("endpoint: write it as sb://host:port")
    return [*problems, *tls_problems(options.tls)]
