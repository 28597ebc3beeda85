"""What this distribution offers: the connectors `zmq` and `zmq.reply`, and profiles."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.capabilities import Capabilities
from penstock.hookspecs import hookimpl
from penstock.specs import ConnectorSpec, Profile, standard_profiles

PLUGIN_API = 1

CARRIED = Capabilities(headers=True, keys=True, tombstones=True)


@hookimpl
def penstock_connectors() -> Sequence[ConnectorSpec]:
    """The connectors. ZeroMQ stores nothing, so they promise no more than what a frame carries."""
    return [
        ConnectorSpec(
            "zmq",
            consumer="penstock_zmq.streams:PullConsumer",
            producer="penstock_zmq.streams:PushProducer",
            options="penstock_zmq.options:ZmqOptions",
            check="penstock_zmq.options:check",
            capabilities=CARRIED,
            record_options=frozenset(),
            summary="ZeroMQ push and pull, at most once",
        ),
        ConnectorSpec(
            "zmq.reply",
            consumer="penstock_zmq.reply:ReplyConsumer",
            producer="penstock_zmq.reply:ReplyProducer",
            options="penstock_zmq.options:ZmqOptions",
            check="penstock_zmq.options:check",
            capabilities=CARRIED,
            record_options=frozenset(),
            summary="ZeroMQ requests, answered by the function's outputs",
        ),
    ]


@hookimpl
def penstock_profiles() -> Sequence[Profile]:
    """The usual ones of both connectors."""
    replies = standard_profiles("zmq.reply", "by ZeroMQ, answered", name="zmq-reply")
    return [*standard_profiles("zmq", "by ZeroMQ"), *(each for each in replies if not each.name.endswith("-dlq"))]
