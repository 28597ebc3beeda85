"""The connector `http-pair`."""

from __future__ import annotations

from dataclasses import replace

from penstock.hookspecs import hookimpl
from penstock.specs import ConnectorSpec
from penstock_http.plugin import penstock_connectors as ours

PLUGIN_API = 1


@hookimpl
def penstock_connectors() -> list[ConnectorSpec]:
    """The consumer of `http.poll`, with its capabilities, and the producer of `http.webhook`."""
    poll, webhook = ours()
    return [
        replace(
            poll,
            name="http-pair",
            consumer="http_pair.sides:PairConsumer",
            producer="http_pair.sides:PairProducer",
            options="http_pair.options:PairOptions",
            check="http_pair.options:check",
            record_options=webhook.record_options,
        )
    ]
