"""What this distribution offers: the connector `timer` and its profiles."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.capabilities import Capabilities
from penstock.hookspecs import hookimpl
from penstock.specs import ConnectorSpec, Profile, standard_profiles

PLUGIN_API = 1


@hookimpl
def penstock_connectors() -> Sequence[ConnectorSpec]:
    """The connector, which is an input only."""
    return [
        ConnectorSpec(
            "timer",
            consumer="penstock_timer.consumer:TimerConsumer",
            options="penstock_timer.options:TimerOptions",
            check="penstock_timer.check:check",
            capabilities=Capabilities(ordering="queue", requeue_delay=True),
            summary="ticks by an interval or a cron expression",
        )
    ]


@hookimpl
def penstock_profiles() -> Sequence[Profile]:
    """`timer`: the function gets one tick."""
    return [profile for profile in standard_profiles("timer", "of a clock") if profile.name == "timer"]
