"""What stands under the `config:` key of a queue. No client library is imported here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from penstock.options import ConnectorOptions, FromEnvironment
from penstock.tls import TlsOptions

_URL_REGION = re.compile(r"^(?:sqs\.)?([a-z0-9-]+)\.(?:queue\.)?amazonaws\.")


@dataclass(frozen=True, slots=True)
class Target:
    """A queue or topic as its `value` names it: a name, an ARN, or the URL of a queue."""

    name: str
    url: str | None = None
    account: str | None = None
    region: str | None = None

    @classmethod
    def parse(cls, value: str) -> Self:
        """From the `value` of a queue."""
        if value.startswith("arn:"):
            *_, region, account, name = value.split(":", 5)
            return cls(name, None, account, region)
        if "://" not in value:
            return cls(value)
        parts = urlsplit(value)
        found = _URL_REGION.match(parts.hostname or "")
        return cls(parts.path.rpartition("/")[2], value, None, found and found[1])


class AwsOptions(ConnectorOptions):
    """Options of all connectors to AWS.

    Attributes:
        region: The region; else that of the queue's URL or ARN, of AWS_DEFAULT_REGION or of the profile. From
            AWS_REGION.
        endpoint_url: Another server than Amazon's: an emulator, a VPC endpoint. From AWS_ENDPOINT_URL.
        access_key_id: With `secret_access_key`; else AWS's own order: AWS_ACCESS_KEY_ID, files in ~/.aws, the role of
            the machine or container.
        secret_access_key: To `access_key_id`.
        session_token: For temporary credentials.
        profile: A profile of the files in ~/.aws.
        tls: How to verify the server, for an `endpoint_url` with a certificate of your own.
        timeout: Seconds after which a server that does not answer counts as away.
    """

    region: Annotated[str | None, FromEnvironment("AWS_REGION")] = None
    endpoint_url: Annotated[str | None, FromEnvironment("AWS_ENDPOINT_URL")] = None
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None
    session_token: SecretStr | None = None
    profile: str | None = None
    tls: TlsOptions = TlsOptions()
    timeout: float = Field(default=10.0, gt=0, le=60)

    @field_validator("endpoint_url")
    @classmethod
    def _endpoint_is_a_url(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "http://none")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError("an endpoint is a URL such as http://localhost:4566, without a user or password")
        return url


class SqsOptions(AwsOptions):
    """Options of the connector `sqs`.

    Attributes:
        visibility_timeout: Seconds for which a delivery is hidden from others; extended while it is worked on, up to
            the 12 hours that SQS allows.
        wait_time: Seconds that a request waits for messages on the server, at most a quarter of `visibility_timeout`. A
            stop waits as long, because a request that is cancelled may swallow messages.
        receives: How many requests for messages may be under way; one is, while the queue is empty.
        create: Create the queue if it does not exist.
        unwrap_sns: Messages of an SNS topic come in an envelope of JSON, unless the subscription has raw delivery: open
            it.
    """

    visibility_timeout: int = Field(default=60, ge=4, le=43_200)
    wait_time: int = Field(default=5, ge=1, le=20)
    receives: int = Field(default=10, ge=1, le=100)
    create: bool = False
    unwrap_sns: bool = False


class FifoOptions(SqsOptions):
    """Options of the connector `sqs.fifo`.

    Attributes:
        group: The message group of records without a key, which then keep their order among each other; it gets
            `penstock-` before it. None: each has a group of its own.
    """

    group: str | None = Field(default=None, pattern=r"^[!-~]{1,100}$")


class SnsOptions(AwsOptions):
    """Options of the connector `sns`.

    Attributes:
        group: For a FIFO topic; see the connector `sqs.fifo`.
    """

    group: str | None = Field(default=None, pattern=r"^[!-~]{1,100}$")
