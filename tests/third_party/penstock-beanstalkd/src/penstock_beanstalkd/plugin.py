"""What this distribution offers. No client library is imported here: `penstock plugins` must stay fast."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.capabilities import Capabilities
from penstock.hookspecs import hookimpl
from penstock.specs import ConnectorSpec, Profile, standard_profiles

PLUGIN_API = 1


@hookimpl
def penstock_connectors() -> Sequence[ConnectorSpec]:
    """The connector `beanstalkd`."""
    return [
        ConnectorSpec(
            "beanstalkd",
            consumer="penstock_beanstalkd.consumer:BeanstalkdConsumer",
            producer="penstock_beanstalkd.producer:BeanstalkdProducer",
            options="penstock_beanstalkd.options:BeanstalkdOptions",
            capabilities=Capabilities(
                ordering="queue", redelivery_count=True, record_delay=True, requeue_delay=True, lease=True, lag=True
            ),
            check="penstock_beanstalkd.options:check",
            record_options=frozenset({"priority"}),
            summary="tubes of beanstalkd",
        )
    ]


@hookimpl
def penstock_profiles() -> Sequence[Profile]:
    """For models in JSON, one by one or as lists, and for dead letters as they came."""
    return standard_profiles("beanstalkd", "on beanstalkd")
