"""The configuration of a share group, which the brokers keep: the time of a lock, and how often they deliver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
)

from penstock.errors import FatalConnectorError, NotConnected
from penstock_kafka.client_callbacks import ClientCallbacks
from penstock_kafka.connection import check_connection
from penstock_kafka.errors import connector_error
from penstock_kafka.options import topics
from penstock_kafka.probing import admin_client
from penstock_kafka.share_options import GROUP_DEFAULTS, ShareOptions

LOCK = "share.record.lock.duration.ms"
LIMIT = "share.delivery.count.limit"


def prepare(name: str, options: ShareOptions) -> tuple[float, int]:
    """Check brokers and topics, and set the group's configuration where it differs.

    Returns:
        For how many seconds a message is locked, and how often it is delivered at most.

    Raises:
        NotConnected: no broker answered in time.
        FatalConnectorError: the brokers have no share groups, or refuse.
        ConnectorError: a topic does not exist.
    """
    where = f"Kafka at {options.brokers}"
    callbacks = ClientCallbacks()
    client = admin_client(options, "input", callbacks)
    names = topics(name, "input")
    check_connection(client, lambda: client.poll(0), callbacks, names, options.brokers, options.connect_timeout)
    group = options.group_id or ""
    place = f"{where}: share group {group!r}"
    found = _ask(client.describe_configs, ConfigResource(ConfigResource.Type.GROUP, group), options, place)
    if LIMIT not in found:
        raise FatalConnectorError(f"{where}: these brokers have no share groups; they need Kafka 4.2 or later")
    if wanted := _wanted(options, found):
        entries = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in wanted.items()
        ]
        changed = ConfigResource(ConfigResource.Type.GROUP, group, incremental_configs=entries)
        try:
            _ask(client.incremental_alter_configs, changed, options, place)
        except FatalConnectorError as error:
            raise FatalConnectorError(
                f"{error}; the connector sets {', '.join(wanted)} of the group: correct them under 'group', let the "
                "brokers grant this user AlterConfigs on the group, or write 'group: null' to leave all as it is"
            ) from None
        found = _ask(client.describe_configs, ConfigResource(ConfigResource.Type.GROUP, group), options, place)
    return float(found[LOCK].value) / 1000, int(found[LIMIT].value)


def _wanted(options: ShareOptions, found: Mapping[str, Any]) -> dict[str, str]:
    """What has to be set: what the user wrote, and defaults where the group has no value of its own."""
    if options.group is None:
        return {}
    unset = {key for key, entry in found.items() if entry.source == ConfigSource.DEFAULT_CONFIG.value}
    wanted = {key: value for key, value in GROUP_DEFAULTS.items() if key in unset}
    wanted |= {key: str(value) for key, value in options.group.items()}
    return {key: value for key, value in wanted.items() if key not in found or found[key].value != value}


def _ask(call: Any, resource: ConfigResource, options: ShareOptions, place: str) -> Any:
    try:
        return call([resource], request_timeout=options.connect_timeout)[resource].result(options.connect_timeout + 1)
    except KafkaException as error:
        raise connector_error(error.args[0], place) from None
    except TimeoutError:
        raise NotConnected(f"{place}: no answer within {options.connect_timeout:g} s") from None
