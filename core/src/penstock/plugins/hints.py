"""The core's only table of plugin names: what to install for a name, and which name was probably meant."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Literal

Origin = Literal["built-in", "first-party", "third-party"]

CORE = "penstock-core"
"""The distribution whose names are built in."""

EMBEDDED = "memory"
"""The connector, and the profile, that need no backend; for the queues of tests."""

_PROVIDED: Mapping[str, Mapping[str, Collection[str]]] = {
    "kafka": {"connector": ("kafka", "kafka.share"), "profile": ("kafka", "confluent")},
    "rsmq": {"connector": ("rsmq",), "profile": ("rsmq",)},
    "redis": {"connector": ("redis.streams", "redis.lists", "redis.pubsub"), "profile": ("redis",)},
    "http": {"connector": ("http.poll", "http.webhook"), "profile": ("http",)},
    "timer": {"connector": ("timer",), "profile": ("timer",)},
    "zmq": {"connector": ("zmq", "zmq.reply"), "profile": ("zmq",)},
    "memory": {"connector": ("memory",), "profile": ("memory",)},
    "sqlite": {"connector": ("sqlite",), "profile": ("sqlite",)},
    "postgres": {
        "connector": ("postgres", "postgres.table"),
        "profile": ("postgres",),
        "command": ("postgres",),
    },
    "gcp": {"connector": ("pubsub",), "profile": ("pubsub",)},
    "nats": {"connector": ("nats",), "profile": ("nats",)},
    "azure": {"connector": ("servicebus", "storage_queue"), "profile": ("servicebus", "storage_queue")},
    "rabbitmq": {"connector": ("rabbitmq", "rabbitmq.classic"), "profile": ("rabbitmq",)},
    "aws": {"connector": ("sqs", "sqs.fifo", "sns"), "profile": ("sqs", "sqs.fifo", "sns")},
    "msgpack": {"serializer": ("msgpack",)},
    "compat": {
        "module": (
            "penstock.connectors.base",
            "penstock.connectors.confluent",
            "penstock.connectors.rsmq",
            "penstock.connectors.zmq",
            "penstock.data_models.QueueMessage",
            "penstock.logging",
            "penstock.models",
            "penstock.models.base",
            "penstock.models.pydantic_model",
            "penstock.serializers.JsonSerialization",
            "penstock.serializers.MsgPackSerialization",
            "penstock.serializers.OrJsonSerialization",
            "penstock.serializers.base",
        )
    },
    "kit": {"command": ("new",)},
}
"""Extra of the core → kind → the names it brings; a profile's name may go on after a dash."""


def normalised(distribution: str) -> str:
    """A distribution's name as package indexes compare it: `Penstock_Kafka` is `penstock-kafka`."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def stems(kind: str, name: str) -> tuple[str, ...]:
    """The entry points that a name may be of: itself, its part before a dot, for a profile that before a dash."""
    found = [name, name.split(".", 1)[0]]
    if kind == "profile":
        found.append(name.split("-", 1)[0])
    return tuple(dict.fromkeys(found))


def extra_for(kind: str, name: str) -> str | None:
    """The extra of the core that brings `name`, or None if none does."""
    wanted = stems(kind, name)
    for extra, kinds in _PROVIDED.items():
        if any(stem in kinds.get(kind, ()) for stem in wanted):
            return extra
    return None


def extra_of(distribution: str) -> str | None:
    """The extra that installs one of our own distributions, or None for another author's."""
    return next((extra for extra in _PROVIDED if distribution_of(extra) == normalised(distribution)), None)


def distribution_of(extra: str) -> str:
    """The distribution that an extra installs."""
    return f"penstock-{extra}"


def origin(distribution: str) -> Origin:
    """The origin of a distribution: "built-in", "first-party" or "third-party"."""
    if normalised(distribution) == CORE:
        return "built-in"
    return "third-party" if extra_of(distribution) is None else "first-party"


def known_names(kind: str) -> Collection[str]:
    """The names of a kind that some extra would bring."""
    return [name for kinds in _PROVIDED.values() for name in kinds.get(kind, ())]


def is_ours(name: str) -> bool:
    """Whether some extra would bring anything by this name."""
    return any(name in names for kinds in _PROVIDED.values() for names in kinds.values())


NEAR = 0.7
"""How alike (1: the same) two names must be for one to be meant by the other: 'nmae' and 'name' are 0.75; 'reminders'
and 'orders', good names for two queues, 0.67."""


def nearest(wanted: str, names: Iterable[str], near: float = NEAR) -> str | None:
    """The name that was probably meant, or None if none is near."""
    by_lower_case = {name.lower(): name for name in sorted(names, reverse=True)}
    found = get_close_matches(wanted.lower(), by_lower_case, n=1, cutoff=near)
    return by_lower_case[found[0]] if found else None
