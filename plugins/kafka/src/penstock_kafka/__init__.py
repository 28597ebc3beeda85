"""The connector `kafka`: Kafka topics as queues, on confluent-kafka."""

__version__ = "0.1.0"
