"""What this distribution offers: the connectors `sqs`, `sqs.fifo` and `sns`, and their profiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from penstock.capabilities import Capabilities
from penstock.hookspecs import hookimpl
from penstock.specs import ConnectorSpec, Profile, standard_profiles

PLUGIN_API = 1
MAX_RECORD_BYTES = 1_048_576


@hookimpl
def penstock_connectors() -> Sequence[ConnectorSpec]:
    """The connectors. A FIFO queue is one of its own, because it has an order, and no delay of a record."""
    queue = Capabilities(
        headers=True, keys=True, tombstones=True, redelivery_count=True, requeue_delay=True, lease=True, lag=True,
        backlog=True, create=True,
    )  # fmt: skip
    return [
        ConnectorSpec(
            "sqs",
            consumer="penstock_aws.consumer:SqsConsumer",
            producer="penstock_aws.producer:SqsProducer",
            options="penstock_aws.options:SqsOptions",
            check="penstock_aws.check:check_standard",
            capabilities=replace(queue, record_delay=True),
            record_options=frozenset(),
            max_record_bytes=MAX_RECORD_BYTES,
            summary="Amazon SQS, standard queues",
        ),
        ConnectorSpec(
            "sqs.fifo",
            consumer="penstock_aws.consumer:SqsConsumer",
            producer="penstock_aws.producer:SqsProducer",
            options="penstock_aws.options:FifoOptions",
            check="penstock_aws.check:check_fifo",
            capabilities=replace(queue, ordering="key"),
            record_options=frozenset({"deduplication_id"}),
            max_record_bytes=MAX_RECORD_BYTES,
            summary="Amazon SQS, FIFO queues",
        ),
        ConnectorSpec(
            "sns",
            producer="penstock_aws.sns:SnsProducer",
            options="penstock_aws.options:SnsOptions",
            check="penstock_aws.check:check_topic",
            capabilities=Capabilities(headers=True, keys=True, tombstones=True),
            record_options=frozenset({"subject", "deduplication_id"}),
            max_record_bytes=262_144,
            summary="Amazon SNS, topics; an output only",
        ),
    ]


@hookimpl
def penstock_profiles() -> Sequence[Profile]:
    """`sqs` for models in JSON, `sqs-dlq` for dead letters as they came, and more."""
    return [
        *standard_profiles("sqs", "on Amazon SQS"),
        *standard_profiles("sqs.fifo", "on Amazon SQS, in order"),
        Profile("sns", "sns", summary="JSON to Amazon SNS"),
    ]
