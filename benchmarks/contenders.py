"""Who takes part, on which backend, and which hand-written loop each is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Contender:
    """A process of its own that does the work of work.py, and prints one line (see clock.py).

    Attributes:
        name: What the table calls it.
        backend: A name of backends.py: where the messages are.
        module: Takes the arguments of the backend, then the number of messages, then `arguments`.
        arguments: Further ones.
        share: The part of the messages that it is given: less for one that would take minutes.
        requires: What an environment of its own needs; empty: it runs in ours.
    """

    name: str
    backend: str
    module: str
    arguments: tuple[str, ...] = ()
    share: float = 1.0
    requires: tuple[str, ...] = ()


CONTENDERS: Sequence[Contender] = (
    Contender("raw, pipelined", "kafka", "benchmarks.raw.kafka"),
    Contender("raw, produce_batch", "kafka", "benchmarks.raw.kafka", ("produce_batch",)),
    Contender("penstock", "kafka", "benchmarks.penstock_app.kafka"),
    Contender("penstock, async", "kafka", "benchmarks.penstock_app.kafka", ("async",)),
    Contender("penstock, batch", "kafka", "benchmarks.penstock_app.kafka", ("batch",)),
    Contender("Quix Streams", "kafka", "benchmarks.peers.quix", requires=("quixstreams==3.28.1",)),
    Contender("py-volley", "kafka", "benchmarks.peers.volley", share=0.05, requires=("py-volley[kafka]==1.3.1",)),
    Contender(
        "FastStream", "kafka", "benchmarks.peers.fast_stream", share=0.02, requires=("faststream[confluent]==0.7.8",)
    ),
    Contender("raw, send", "kafka.send", "benchmarks.raw.kafka_alone", ("send",)),
    Contender("penstock, send_batch", "kafka.send", "benchmarks.penstock_app.kafka_alone", ("send",)),
    Contender("penstock, blocking", "kafka.send", "benchmarks.penstock_app.kafka_alone", ("send", "blocking")),
    Contender("raw, read", "kafka.read", "benchmarks.raw.kafka_alone", ("read",)),
    Contender("penstock, read", "kafka.read", "benchmarks.penstock_app.kafka_alone", ("read",)),
    Contender("penstock, blocking", "kafka.read", "benchmarks.penstock_app.kafka_alone", ("read", "blocking")),
    Contender("raw", "kafka.share", "benchmarks.raw.kafka_share"),
    Contender("penstock", "kafka.share", "benchmarks.penstock_app.kafka", ("share",)),
    Contender("raw, leased", "postgres", "benchmarks.raw.postgres", ("leased",)),
    Contender("penstock", "postgres", "benchmarks.penstock_app.postgres"),
    Contender("raw, one transaction", "postgres-exactly-once", "benchmarks.raw.postgres", ("transaction",)),
    Contender("penstock, exactly once", "postgres-exactly-once", "benchmarks.penstock_app.postgres", ("exactly_once",)),
    Contender("raw", "postgres.changes", "benchmarks.raw.postgres_changes"),
    Contender("penstock", "postgres.changes", "benchmarks.penstock_app.postgres_changes"),
    Contender("raw", "redis.streams", "benchmarks.raw.redis", ("streams",)),
    Contender("penstock", "redis.streams", "benchmarks.penstock_app.redis", ("streams",)),
    Contender("raw", "redis.lists", "benchmarks.raw.redis", ("lists",)),
    Contender("penstock", "redis.lists", "benchmarks.penstock_app.redis", ("lists",)),
    Contender("raw PyRSMQ", "rsmq", "benchmarks.raw.rsmq", share=0.1),
    Contender("penstock", "rsmq", "benchmarks.penstock_app.rsmq"),
    Contender("raw, acknowledged", "nats", "benchmarks.raw.nats"),
    Contender("penstock", "nats", "benchmarks.penstock_app.nats"),
    Contender("raw", "pubsub", "benchmarks.raw.pubsub"),
    Contender("penstock", "pubsub", "benchmarks.penstock_app.pubsub"),
    Contender("raw", "servicebus", "benchmarks.raw.azure", ("servicebus",), share=0.02),
    Contender("penstock", "servicebus", "benchmarks.penstock_app.azure", ("servicebus",), share=0.02),
    Contender("raw", "storage_queue", "benchmarks.raw.azure", ("storage_queue",), share=0.005),
    Contender("penstock", "storage_queue", "benchmarks.penstock_app.azure", ("storage_queue",), share=0.005),
    Contender("raw aiohttp", "http", "benchmarks.raw.http", share=0.02),
    Contender("penstock", "http", "benchmarks.penstock_app.http", share=0.02),
    Contender("raw aio-pika, pipelined", "rabbitmq", "benchmarks.raw.rabbitmq", share=0.1),
    Contender("penstock", "rabbitmq", "benchmarks.penstock_app.rabbitmq", share=0.1),
    Contender("raw aiobotocore", "sqs", "benchmarks.raw.sqs"),
    Contender("penstock", "sqs", "benchmarks.penstock_app.sqs"),
    Contender("raw, no queue", "memory", "benchmarks.raw.memory"),
    Contender("penstock", "memory", "benchmarks.penstock_app.memory"),
    Contender("penstock, async", "memory", "benchmarks.penstock_app.memory", ("async",)),
    Contender("penstock, batch", "memory", "benchmarks.penstock_app.memory", ("batch",)),
    Contender("raw, one transaction", "sqlite", "benchmarks.raw.sqlite"),
    Contender("penstock", "sqlite", "benchmarks.penstock_app.sqlite"),
)
"""The first of a backend is its yardstick. Add a contender here."""
