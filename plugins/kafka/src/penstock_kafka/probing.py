"""Asks the brokers whether a queue can be used: about its topics, this user's rights and the group. Joins no group."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient  # type: ignore[attr-defined]

from penstock.connectors import Probed
from penstock.errors import FatalConnectorError, NotConnected
from penstock.options import Role
from penstock_kafka.client_callbacks import ClientCallbacks
from penstock_kafka.connection import check_connection, invalid_settings
from penstock_kafka.errors import connector_error
from penstock_kafka.known_keys import CONSUMER, PRODUCER
from penstock_kafka.options import ClientOptions, topics

ADMIN_TIMEOUT = 3.0  # seconds for each question after the brokers have answered the first one


def admin_client(options: ClientOptions, role: Role, callbacks: ClientCallbacks) -> AdminClient:
    """A client that asks and changes settings, with the addresses and credentials of a queue in this role."""
    settings = {key: value for key, value in options.client_settings(role).items() if key not in CONSUMER | PRODUCER}
    try:
        return AdminClient(callbacks.listening(settings))
    except KafkaException as error:
        raise invalid_settings(error) from None


def probe(name: str, options: ClientOptions, role: Role, group: bool = True) -> list[Probed]:
    """See `Consumer.probe`.

    Args:
        name: The queue's `value`.
        options: Its options.
        role: What it is used for.
        group: Whether to ask about the consumer group of an input.
    """
    names = topics(name, role)
    where = f"Kafka at {options.brokers}"
    callbacks = ClientCallbacks()
    client = admin_client(options, role, callbacks)
    check_connection(client, lambda: client.poll(0), callbacks, names, options.brokers, options.connect_timeout)
    plain = [each for each in names if not each.startswith("^")]
    answers = [Probed("reachable", True, f"{where} answers"), _rights(client, plain, role, where)]
    answers.append(Probed("exists", True, f"topic {name!r} exists" if plain else f"{name!r} is a pattern"))
    if role == "input" and group:
        answers.append(_group(client, options.group_id or "", where))
    return [*answers, Probed("clock", None, "brokers do not tell their time")]


def _rights(client: AdminClient, names: list[str], role: Role, where: str) -> Probed:
    """Whether the user may read, or write, the topics."""
    operation = AclOperation.READ if role == "input" else AclOperation.WRITE
    if not names:
        return Probed("authorised", None, "a pattern names no topic to ask about")
    asked = client.describe_topics(
        TopicCollection(names), include_authorized_operations=True, request_timeout=ADMIN_TIMEOUT
    )
    try:
        granted = [_answer(asked, name, f"{where}: topic {name!r}").authorized_operations for name in names]
    except (NotConnected, NotImplementedError):
        granted = []
    if not granted or None in granted:
        return Probed("authorised", None, "the brokers do not tell this user's rights")
    for name, operations in zip(names, granted, strict=True):
        if operation not in operations:
            raise FatalConnectorError(
                f"{where}: topic {name!r}: this user has no right to {operation.name}; let the brokers grant it"
            )
    return Probed("authorised", True, f"may {operation.name.lower()}")


def _group(client: AdminClient, group: str, where: str) -> Probed:
    """Whether the user may read the group; a group without members does not exist, and may be read all the same."""
    place = f"{where}: group {group!r}"
    asked = client.describe_consumer_groups([group], include_authorized_operations=True, request_timeout=ADMIN_TIMEOUT)
    try:
        found = _answer(asked, group, place)
    except FatalConnectorError as error:
        return Probed("group", False, str(error))
    except (NotConnected, NotImplementedError) as error:
        return Probed("group", None, str(error))
    operations = found.authorized_operations
    if operations is not None and AclOperation.READ not in operations:
        text = f"{place}: this user has no right to READ; let the brokers grant it, or use another 'group.id'"
        return Probed("group", False, text)
    return Probed("group", True, f"group {group!r} can be read, and has {len(found.members)} members")


def _answer(asked: Mapping[str, Future[Any]], name: str, place: str) -> Any:
    try:
        return asked[name].result(ADMIN_TIMEOUT)
    except KafkaException as error:
        if error.args[0].code() in (KafkaError._UNSUPPORTED_FEATURE, KafkaError.UNSUPPORTED_VERSION):
            raise NotImplementedError("these brokers cannot be asked") from None
        raise connector_error(error.args[0], place) from None
    except TimeoutError:
        raise NotConnected(f"{place}: no answer within {ADMIN_TIMEOUT:g} s") from None
