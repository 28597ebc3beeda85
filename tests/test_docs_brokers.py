"""Every class, parameter and method that Pythia's document on brokers names has its row in the manual."""

from __future__ import annotations

import re

import pytest

from tests.sources import ROOT

PAGE = (ROOT / "docs" / "reference" / "brokers.md").read_text()

# The sections of that document, and what each of them names.
NAMED = {
    "Base interfaces": "MessageBroker MessageProducer connect disconnect consume send health_check",
    "Kafka": """
        topic consumer_group bootstrap_servers batch_size auto_offset_reset commit_offsets seek_to_beginning seek_to_end
        partition_key key_serializer value_serializer send_batch flush security_protocol sasl_mechanism sasl_username
        sasl_password session_timeout_ms heartbeat_interval_ms max_poll_interval_ms acks retries linger_ms buffer_memory
    """,
    "Redis": """
        RedisStreamsConsumer stream consumer_group consumer_name batch_size block_time start_id RedisStreamsProducer
        max_length approximate RedisPubSubConsumer channels patterns RedisListConsumer queue timeout host port password
        db max_connections retry_on_timeout socket_keepalive socket_connect_timeout socket_timeout response_timeout
    """,
    "RabbitMQ": """
        queue exchange routing_key exchange_type prefetch_count auto_ack durable host port username password
        virtual_host heartbeat connection_attempts retry_delay ssl_enabled ssl_certfile ssl_keyfile ssl_ca_certs
    """,
    "HTTP": """
        PollerWorker url poll_interval headers params method WebhookSenderWorker webhook_urls timeout max_retries
        retry_delay max_connections max_keepalive_connections keepalive_expiry enable_circuit_breaker
        circuit_breaker_threshold circuit_breaker_timeout
    """,
    "AWS SQS and SNS": """
        SQSConsumer queue_url max_messages wait_time_seconds visibility_timeout_seconds SNSProducer topic_arn
        message_attributes region access_key_id secret_access_key timeout max_retries
    """,
    "Google Cloud Pub/Sub": """
        subscription_name max_messages ack_deadline_seconds topic_name ordering_key attributes project_id
        credentials_path timeout max_retries
    """,
    "Azure": """
        ServiceBusConsumer ServiceBusProducer StorageQueueConsumer StorageQueueProducer queue_name max_messages
        max_wait_time visibility_timeout message_count connection_string timeout max_retries
    """,
    "Database": "CDCWorker db_url tables poll_interval batch_size",
    "Error handling": "BrokerError ConnectionError MessageError",
    "Retry": "RetryConfig max_retries initial_delay max_delay exponential_backoff jitter",
}


def section(title: str) -> str:
    """The text of a section."""
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, f"the page has no section {title!r}"
    return found[1]


@pytest.mark.parametrize("title", NAMED)
def test_every_name_of_the_document_has_its_row(title: str) -> None:
    """With the option that does the same, or a sentence that says why there is none."""
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", section(title)))))

    assert not [name for name in NAMED[title].split() if name not in named]


def test_every_row_has_an_answer() -> None:
    """No cell is empty."""
    rows = re.findall(r"^\| (.*) \|$", PAGE, re.MULTILINE)

    assert len(rows) > 80
    assert not [row for row in rows if not all(cell.strip() for cell in row.split(" | "))]
