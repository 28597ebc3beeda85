"""Every way of configuring an engine in Python."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from penstock import Engine, GenericMessage, PenstockError, QueueConfig, RetryPolicy, Worker, WorkerSettings
from penstock.errors import ConfigError

queues = [
    QueueConfig(name="orders", connector="memory", data_model=GenericMessage, config={"namespace": "a"}),
    QueueConfig(name="rows", value="table", consumer="example.MyConsumer", serializer=None, model_handler="disabled"),
    QueueConfig(name="files", profile="confluent", batch=True),
]
mapping: dict[str, Any] = {"queues": {"orders": {"connector": "memory"}}}
table: dict[str, dict[str, str]] = {"orders": {"connector": "memory"}}

by_config = Engine("orders", config=queues)
by_config_mapping = Engine("orders", config=mapping)
by_config_file = Engine("orders", config="penstock.yml")
by_list = Engine("orders", queue_config=queues)
by_mapping = Engine("orders", queue_config=mapping)
by_table = Engine("orders", queue_config=table)
by_file = Engine("orders", yaml_config_path="penstock.yml")
by_path = Engine("orders", yaml_config_path=Path(os.sep) / "etc" / "penstock.toml")
by_reference = Engine(
    app_name="app_0",
    input_queue="my-kafka-input",
    output_queues=["my-redis-output"],
    dead_letter_queue=None,
    queue_config=mapping,
    metrics_port=None,
)
by_everything = Engine(
    "orders",
    ("invoices",),
    metrics_port=9090,
    max_in_flight=1000,
    max_in_flight_bytes="64MiB",
    batch_size=100,
    concurrency=4,
    retry=RetryPolicy(max_attempts=5, initial_delay=0.1, factor=3, max_delay=60, jitter=0.2),
    on_invalid="skip",
    delivery="at_least_once",
)
by_plain_retry = Engine("orders", retry={"max_attempts": 1})


def run_both() -> None:
    """Two engines in one process."""
    try:
        Worker([by_list, by_mapping], WorkerSettings(), drain=True).run()
        Worker([by_config, by_config_file]).run()
    except ConfigError as error:
        for problem in error.problems:
            print(problem)
    except PenstockError as error:
        print(error)
