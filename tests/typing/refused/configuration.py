"""Engines and names that a type checker must refuse. Each line says how."""

# ruff: noqa: B018, F401, I001  (the mistakes are the point, one a line)

from __future__ import annotations

from penstock import Engine, QueueConfig, RetryPolicy, Worker
from penstock import Enigne  # error: attr-defined
from penstock import QueueMessage

import penstock
from penstock.config.model import WorkerSettings

penstock.Prodcuer  # error: attr-defined

Engine()  # error: call-arg
Engine(5)  # error: arg-type
Engine("orders", 5)  # error: arg-type
Engine("orders", output_queues=[5])  # error: list-item
Engine("orders", queue_config=5)  # error: arg-type
Engine("orders", metrics_port="9090")  # error: arg-type
Engine("orders", concurrency="many")  # error: arg-type
Engine("orders", retry=3)  # error: arg-type
Engine("orders", outputs=["invoices"])  # error: call-arg

RetryPolicy(max_attempts="three")  # error: arg-type
RetryPolicy(attempts=3)  # error: call-arg

QueueMessage(None)  # error: call-arg
QueueMessage(None, "text")  # error: arg-type

Worker([QueueConfig(name="orders")], WorkerSettings())  # error: list-item
