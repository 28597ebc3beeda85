"""The stream that holds a queue's subject, and the group that consumes it: found, or created."""

from __future__ import annotations

import logging

from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy, StreamConfig
from nats.js.errors import BadRequestError, NotFoundError

from penstock.errors import FatalConnectorError, NotConnected
from penstock_nats.options import NatsOptions

log = logging.getLogger("penstock.nats")

LATER = "penstock-later"
"""Records with a delay wait under `penstock-later.<subject>.<a unique word>`, in the same stream."""


async def find_stream(jetstream: JetStreamContext, subject: str, options: NatsOptions, schedules: bool) -> str:
    """The name of the stream that holds `subject`; it is created if the options allow that.

    Raises:
        NotConnected: there is none, and it is not ours to create.
        FatalConnectorError: another stream than that of the options holds it.
    """
    try:
        found = await jetstream.find_stream_name_by_subject(subject)
    except NotFoundError:
        found = await _create_stream(jetstream, subject, options, schedules)
    if options.stream not in (None, found):
        raise FatalConnectorError(
            f"subject {subject!r} belongs to stream {found!r}, and `stream` says {options.stream!r}; drop the key"
        )
    return found


async def delayed(jetstream: JetStreamContext, stream: str, subject: str) -> int:
    """How many records of a queue wait for the end of their delay."""
    info = await jetstream.stream_info(stream, subjects_filter=f"{LATER}.{subject}.>")
    return sum((info.state.subjects or {}).values())


async def _create_stream(jetstream: JetStreamContext, subject: str, options: NatsOptions, schedules: bool) -> str:
    if not options.create:
        raise NotConnected(f"no stream holds subject {subject!r}; create one, or set `create: true`")
    name = options.stream or subject.replace(".", "-")
    config = StreamConfig(
        name=name,
        subjects=[subject, f"{LATER}.{subject}.>"] if schedules else [subject],
        max_age=options.max_age,
        num_replicas=options.replicas,
        allow_msg_schedules=schedules or None,
    )
    try:
        await jetstream.add_stream(config)
    except BadRequestError as error:
        raise FatalConnectorError(f"stream {name!r} cannot be created: {error.description}") from error
    return name


async def find_group(jetstream: JetStreamContext, stream: str, subject: str, options: NatsOptions) -> ConsumerInfo:
    """The durable consumer that is the group; it is created if the options allow that.

    Raises:
        NotConnected: there is none, and it is not ours to create.
        FatalConnectorError: there is one of this name, of another kind or for another subject.
    """
    try:
        info: ConsumerInfo = await jetstream.consumer_info(stream, options.group)
    except NotFoundError:
        if not options.create:
            raise NotConnected(
                f"stream {stream!r} has no durable consumer {options.group!r}; create it, or set `create: true`"
            ) from None
        info = await jetstream.add_consumer(
            stream,
            ConsumerConfig(
                durable_name=options.group,
                filter_subject=subject,
                deliver_policy=DeliverPolicy.ALL,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=options.ack_wait,
                max_deliver=-1,
                # The engine bounds what is in flight; the server's default would let one slow worker stop all others.
                max_ack_pending=-1,
            ),
        )
    _check_group(info, stream, subject, options)
    return info


def _check_group(info: ConsumerInfo, stream: str, subject: str, options: NatsOptions) -> None:
    config = info.config
    if config.ack_policy != AckPolicy.EXPLICIT or config.deliver_subject:
        raise FatalConnectorError(
            f"the consumer {options.group!r} of stream {stream!r} is not a pull consumer with explicit "
            "acknowledgement; choose another `group`"
        )
    if config.filter_subject not in (None, subject):
        raise FatalConnectorError(
            f"the consumer {options.group!r} of stream {stream!r} reads {config.filter_subject!r}, not {subject!r}; "
            "choose another `group`"
        )
    if config.ack_wait != options.ack_wait and "ack_wait" in options.model_fields_set:
        log.warning(
            "group %r of stream %r keeps its ack_wait of %s s, not %s s; `nats consumer edit` changes it",
            options.group, stream, config.ack_wait, options.ack_wait,
        )  # fmt: skip
