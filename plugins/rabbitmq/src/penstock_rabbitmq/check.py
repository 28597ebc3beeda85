"""Options and queue names judged without a server; `penstock check` and start-up ask the same function."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.options import OptionProblem, Role
from penstock.tls import TlsOptions, tls_problems
from penstock_rabbitmq.options import RabbitmqOptions

LONGEST_NAME = 200  # bytes of the 255 that AMQP allows; the queues of delays have a longer name


def check(name: str, options: RabbitmqOptions, role: Role) -> Sequence[str]:
    """One sentence a problem.

    Args:
        name: The queue's name in RabbitMQ.
        options: Its options.
        role: What it is opened for.
    """
    problems: list[str] = list(tls_problems(options.tls))
    if len(name.encode()) > LONGEST_NAME or name.startswith("amq."):
        problems.append(f"{name!r} is longer than {LONGEST_NAME} bytes, or begins with 'amq.', which RabbitMQ reserves")
    if options.mechanism == "external" and not (isinstance(options.tls, TlsOptions) and options.tls.cert):
        problems.append(OptionProblem("mechanism: external needs tls.cert, the certificate to show", "mechanism"))
    if not options.durable and options.queue_type == "quorum":
        problems.append(OptionProblem("durable: a quorum queue always is; use `rabbitmq.classic`", "durable"))
    if "x-queue-type" in options.arguments:
        problems.append(OptionProblem("arguments: the connector's name chooses the x-queue-type", "arguments"))
    if options.bindings is not None and not options.exchange:
        problems.append(OptionProblem("bindings are to an exchange, and `exchange` is not set", "bindings"))
    pattern = options.exchange_type == "topic" and {"*", "#"}.intersection((options.routing_key or "").split("."))
    if role == "output" and pattern:
        text = "routing_key is a pattern, to which nothing can be sent; an input has patterns in `bindings`"
        problems.append(OptionProblem(text, "routing_key", other_role=True))
    return problems
