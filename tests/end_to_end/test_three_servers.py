"""The example with three servers, run as its README says, prints what its expected.txt has."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitmqServer
from tests.servers.sqs import AwsServer
from tests.test_examples import assert_prints, commands, copy, run

SECONDS = 240.0  # for six processes; they take ten, and far more on a busy machine


@pytest.mark.timeout(420)  # the servers are started, too
def test_paid_orders_reach_the_warehouse_and_the_accountants_once(
    rabbitmq_server: RabbitmqServer, sqs_server: AwsServer, postgres: PostgresServer, tmp_path: Path
) -> None:
    """From RabbitMQ to SQS and PostgreSQL; the order that comes twice is one shipment and one row."""
    folder = copy("three_servers", tmp_path)

    printed = run(
        commands(folder / "README.md"),
        folder,
        SECONDS,
        RABBITMQ_URL=f"amqp://127.0.0.1:{rabbitmq_server.port}",
        POSTGRES_DSN=postgres.fresh(),
        SHIPMENTS_QUEUE=f"{sqs_server.queue()}.fifo",
        AWS_ENDPOINT_URL=sqs_server.url,
        AWS_REGION="eu-west-1",
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test-secret",
    )

    log = (folder / "log.txt").read_text()
    assert_prints((folder / "expected.txt").read_text(), printed, log)
