"""Creates a topic."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from penstock.connectors import Created
from penstock_kafka.client_callbacks import ClientCallbacks
from penstock_kafka.connection import check_connection, invalid_settings
from penstock_kafka.errors import connector_error
from penstock_kafka.options import ClientOptions

BROKERS_DEFAULT = -1  # partitions, and copies of each


def create(topic: str, options: ClientOptions) -> Created:
    """Create a topic as the options say, unless it is there. Blocks.

    Raises:
        NotConnected: no broker answers.
        FatalConnectorError: the brokers refuse.
    """
    callbacks = ClientCallbacks()
    try:
        client = AdminClient(callbacks.listening(options.client_settings("output")))
    except KafkaException as error:
        raise invalid_settings(error) from None
    check_connection(client, lambda: client.poll(0), callbacks, [], options.brokers, options.connect_timeout)
    wanted = options.topic
    new = NewTopic(
        topic,
        num_partitions=wanted.partitions or BROKERS_DEFAULT,
        replication_factor=wanted.replication or BROKERS_DEFAULT,
        config=dict(wanted.config),
    )
    existed = False
    try:
        client.create_topics([new], request_timeout=options.connect_timeout)[topic].result()
    except KafkaException as error:
        existed = error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS
        if not existed:
            raise connector_error(error.args[0], f"Kafka at {options.brokers}: creating topic {topic!r}") from None
    return Created(existed, f"topic {topic!r} at {options.brokers}{_partitions(client, topic, options)}")


def _partitions(client: AdminClient, topic: str, options: ClientOptions) -> str:
    try:
        count = len(client.list_topics(topic, timeout=options.connect_timeout).topics[topic].partitions)
    except KafkaException:
        return ""  # it is there, and that is what was asked for
    wanted = options.topic.partitions
    instead = f" (the configuration says {wanted})" if wanted is not None and 0 < count != wanted else ""
    return f", {count} partition{'' if count == 1 else 's'}{instead}" if count else ""
