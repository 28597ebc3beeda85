"""What the distribution offers, through the door that every plugin uses."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

import pytest

from penstock.options import ConnectorOptions
from penstock.plugins.registry import Registry
from penstock_kafka import plugin

PROFILES = {
    "kafka": ("json", "pydantic", False),
    "confluent": ("json", "pydantic", False),
    "confluent-pydantic": ("json", "pydantic", False),
    "confluent-orjson-pydantic": ("json", "pydantic", False),
    "confluent-msgpack-pydantic": ("msgpack", "pydantic", False),
    "confluent-batch-json": ("json", "pydantic", True),
    "confluent-dlq": (None, None, False),
    "kafka-pydantic": ("json", "pydantic", False),
    "kafka-batch": ("json", "pydantic", True),
    "kafka-dlq": (None, None, False),
    "confluent-batch": ("json", "pydantic", True),
}


def test_the_entry_point_names_the_light_module() -> None:
    """Discovery finds it under `kafka`."""
    (found,) = entry_points(group="penstock", name="kafka")

    assert found.load() is plugin


def test_every_name_of_the_connector_can_be_loaded() -> None:
    """Consumer, producer, options and check are where the spec says."""
    registry: Any = Registry()
    spec = registry.connector("kafka")

    for part in (spec.consumer, spec.producer, spec.options, spec.check):
        assert callable(registry.load(spec, part))
    assert issubclass(registry.load(spec, spec.options), ConnectorOptions)


@pytest.mark.parametrize("name", PROFILES)
def test_the_profiles_of_the_reference_are_there(name: str) -> None:
    """Each by its name, on this connector."""
    profile = Registry().profile(name)

    assert profile.connector == "kafka"
    assert (profile.serializer, profile.model_handler, profile.batch) == PROFILES[name]
    assert (profile.data_model is None) == (profile.model_handler is None)


def test_no_other_profiles_are_offered() -> None:
    """The list above is the whole list."""
    share = {"kafka-share", "kafka-share-pydantic", "kafka-share-batch", "kafka-share-dlq"}

    assert {profile.name for profile in plugin.penstock_profiles()} == set(PROFILES) | share
