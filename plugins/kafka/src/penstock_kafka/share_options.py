"""What stands under the `config:` key of a queue of a Kafka share group. No client library is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field

from penstock.options import OptionProblem, Role
from penstock_kafka.options import (
    BOTH_DEFAULTS,
    CONSUMER_DEFAULTS,
    TOOLS_GROUP,
    ClientOptions,
    KafkaOptions,
    as_client_value,
)

GROUP_DEFAULTS: Mapping[str, str] = {
    # The brokers' default skips messages that were produced before the group's first start.
    "share.auto.offset.reset": "earliest",
    # The largest values that brokers accept by default: both ends of a message's time are losses of its place.
    "share.record.lock.duration.ms": "60000",
    "share.delivery.count.limit": "10",
}
"""Set for a group that has no values of its own."""

SHARE_DEFAULTS: Mapping[str, Any] = {
    "share.acknowledgement.mode": "explicit",
    # What was fetched is locked, so little is fetched ahead. A batch of records still comes whole.
    "max.poll.records": 100,
    "fetch.max.bytes": 4 * 1024 * 1024,
    "fetch.wait.max.ms": 100,
    "check.crcs": True,
}

_BY_THE_GROUP = "it is the brokers' setting, by the group's configuration: see the option 'group'"
_NONE = "a share group has no such thing"

NOT_SHARED: Mapping[str, str] = {
    "auto.offset.reset": "write 'share.auto.offset.reset' under 'group'",
    "isolation.level": "write 'share.isolation.level' under 'group'",
    "session.timeout.ms": _BY_THE_GROUP,
    "heartbeat.interval.ms": _BY_THE_GROUP,
    "share.acknowledgement.mode": "the connector acknowledges each message when it is settled",
    **dict.fromkeys(
        (
            "allow.auto.create.topics",
            "consume.callback.max.messages",
            "fetch.error.backoff.ms",
            "fetch.queue.backoff.ms",
            "group.instance.id",
            "group.protocol",
            "group.protocol.type",
            "group.remote.assignor",
            "message.copy.max.bytes",
            "partition.assignment.strategy",
            "queued.max.messages.kbytes",
            "queued.min.messages",
            "topic.blacklist",
        ),
        _NONE,
    ),
}
"""Keys of a consumer that the client rejects for a share group, and what to do instead."""


class ShareOptions(ClientOptions):
    """Options of the connector `kafka.share`. A key that is not listed here is passed to librdkafka.

    Attributes:
        group: Settings of the share group, which the brokers keep, such as `share.record.lock.duration.ms`. What is
            written here is set when the worker connects; beside it, what the group has not set itself gets the
            connector's defaults. null: nothing is set.
        members: How many clients a worker may open. One of them takes no new messages until all that it has are
            settled. With more members than partitions, a slow message holds up others for about ten seconds at most.
    """

    group: dict[str, str | int] | None = Field(default_factory=dict)
    members: int = Field(default=8, ge=1, le=100)

    def problems(self, role: Role) -> list[str]:
        """See `ClientOptions.problems`; a share group lacks some of a consumer's keys."""
        found = super().problems(role)
        if role == "input":
            found += [
                OptionProblem(f"{key!r} cannot be set for kafka.share: {NOT_SHARED[key]}", *self.written_as(key, role))
                for key in self.passed_through(role)
                if key in NOT_SHARED
            ]
        return found

    def merged_settings(self, role: Role) -> dict[str, Any]:
        """See `ClientOptions.merged_settings`; for an input, those of a share consumer."""
        settings = super().merged_settings(role)
        if role == "output":
            return settings
        given = self.passed_through(role)
        for key in (*CONSUMER_DEFAULTS, *BOTH_DEFAULTS, "enable.partition.eof", "enable.auto.commit"):
            if key not in given and key not in ("client.id", "socket.keepalive.enable"):
                settings.pop(key, None)
        settings.pop("enable.auto.offset.store")
        return {key: as_client_value(value) for key, value in SHARE_DEFAULTS.items()} | settings

    def for_tools(self) -> Self:
        """See `ConnectorOptions.for_tools`."""
        return self.model_copy(update={"group_id": TOOLS_GROUP})

    def for_browsing(self) -> KafkaOptions:
        """Options with these brokers and credentials, for a client outside all groups."""
        return KafkaOptions(**self.model_dump(by_alias=True, exclude={"group", "members"}))
