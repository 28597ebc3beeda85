"""What this distribution offers: the connectors `http.poll` and `http.webhook`, and their profiles."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.capabilities import Capabilities
from penstock.hookspecs import hookimpl
from penstock.specs import ConnectorSpec, Profile, standard_profiles

PLUGIN_API = 1


@hookimpl
def penstock_connectors() -> Sequence[ConnectorSpec]:
    """One connector for each direction."""
    return [
        ConnectorSpec(
            "http.poll",
            consumer="penstock_http.poll:PollConsumer",
            options="penstock_http.options:PollOptions",
            check="penstock_http.check:check_poll",
            capabilities=Capabilities(ordering="queue", requeue_delay=True),
            summary="a feed, asked again and again",
        ),
        ConnectorSpec(
            "http.webhook",
            producer="penstock_http.webhook:WebhookProducer",
            options="penstock_http.options:WebhookOptions",
            check="penstock_http.check:check_webhook",
            capabilities=Capabilities(headers=True, keys=True),
            record_options=frozenset({"id", "url"}),
            summary="requests to URLs, each with an idempotency key",
        ),
    ]


@hookimpl
def penstock_profiles() -> Sequence[Profile]:
    """`http-poll`, `http-webhook`, and the usual ones of each."""
    return [
        *standard_profiles("http.poll", "from a feed", name="http-poll"),
        *standard_profiles("http.webhook", "to URLs", name="http-webhook"),
    ]
