"""What stands under the `config:` key of a Pub/Sub queue. No client library is imported here."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from penstock.options import ConnectorOptions, FromEnvironment, OptionProblem, Role

_PATH = re.compile(r"projects/[^/]+/(topics|subscriptions)/([^/]+)")
_ID = re.compile(r"(?!goog)[A-Za-z][A-Za-z0-9_.~+%-]{2,254}")


class PubSubOptions(ConnectorOptions):
    """Options of the connector `pubsub`.

    Attributes:
        project: The project's id, for names that do not say it. From GOOGLE_CLOUD_PROJECT.
        subscription: The subscription of an input: its id, or `projects/…/subscriptions/…`. Each gets every message for
            itself; workers of one share them. None: the one that is called like the topic.
        service_account: File of a service account's key. None: Google's default credentials, which are found through
            the environment variable GOOGLE_APPLICATION_CREDENTIALS, or on the machine.
        endpoint: Host and port. Order by key needs a regional one: `europe-west1-pubsub.googleapis.com:443`.
        ca: File of the certificate authorities to trust; None: gRPC's own.
        emulator: Host and port of an emulator: without TLS and credentials. From PUBSUB_EMULATOR_HOST.
        ack_deadline: Seconds for which a delivery is hidden from others; extended while the function works on it.
        ordering: The record's key is Pub/Sub's ordering key, and a subscription that is created keeps the messages of
            each key in order.
        exactly_once: A subscription that is created has exactly-once delivery, so that acknowledgements that come too
            late are counted by the service. An existing one keeps what it has.
        create: Create topic and subscription if they do not exist. A producer creates the subscription as well, since
            a topic without one drops its messages.
        timeout: Seconds after which a service that does not answer counts as away.
    """

    project: Annotated[str | None, FromEnvironment("GOOGLE_CLOUD_PROJECT")] = None
    subscription: str | None = None
    service_account: str | None = None
    endpoint: str = Field(default="pubsub.googleapis.com:443", pattern=r"^[^/\s@]+$")
    ca: str | None = None
    emulator: Annotated[str | None, FromEnvironment("PUBSUB_EMULATOR_HOST")] = Field(
        default=None, pattern=r"^[^/\s@]+:\d+$"
    )
    ack_deadline: int = Field(default=60, ge=1, le=600)
    ordering: bool = False
    exactly_once: bool = False
    create: bool = False
    timeout: float = Field(default=10.0, gt=0, le=60)

    @property
    def address(self) -> str:
        """The service's address, for messages."""
        return self.emulator or self.endpoint

    def topic_path(self, name: str) -> str:
        """The whole name of the topic that a queue's `value` names."""
        return name if name.startswith("projects/") else f"projects/{self.project}/topics/{name}"

    def subscription_path(self, name: str) -> str:
        """The whole name of the subscription of a queue."""
        wanted = self.subscription or name
        if wanted.startswith("projects/"):
            return wanted.replace("/topics/", "/subscriptions/")
        project = name.split("/")[1] if name.startswith("projects/") else self.project
        return f"projects/{project}/subscriptions/{wanted}"


def check(name: str, options: PubSubOptions, role: Role) -> Sequence[str]:
    """Options and names judged without a server; one sentence a problem.

    Args:
        name: The topic, or an input's subscription.
        options: The queue's options.
        role: What it is opened for.
    """
    problems: list[str] = []
    for text, key in ((name, ""), (options.subscription, "subscription")):
        if text is None:
            continue
        whole = _PATH.fullmatch(text)
        if not _ID.fullmatch(whole[2] if whole else text):
            problem = (
                f"{text!r} is not a name in Pub/Sub: 3 to 255 letters, digits and -_.~+%, a letter first, not 'goog'"
            )
            problems.append(OptionProblem(problem, key) if key else problem)
        elif not whole and options.project is None:
            problems.append(
                f"{text!r} says no project: set `project`, or the environment variable GOOGLE_CLOUD_PROJECT"
            )
        elif whole and (key or role == "output") and whole[1] != ("subscriptions" if key else "topics"):
            expected = "subscription" if key else "topic"
            problems.append(f"{text!r} is not the name of a {expected}")
    for key, path in (("service_account", options.service_account), ("ca", options.ca)):
        if path is not None and not os.access(path, os.R_OK):
            problems.append(OptionProblem(f"{key}: the file {path!r} cannot be read", key))
    return problems
