"""The names of py-volley's documents, with the package renamed."""

from __future__ import annotations

from importlib import import_module

import pytest

from penstock.config.files import load
from penstock.config.resolve import registry_for, validate
from penstock.plugins import hints
from penstock.plugins.import_paths import resolve

NAMES = """
    penstock.Engine  penstock.engine.Engine  penstock.QueueConfig  penstock.config.QueueConfig
    penstock.data_models.GenericMessage  penstock.data_models.QueueMessage  penstock.logging.logger
    penstock.models.PydanticModelHandler  penstock.models.PydanticParserModelHandler  penstock.models.PydanticListParser
    penstock.models.base.BaseModelHandler  penstock.models.pydantic_model.PydanticModelHandler
    penstock.serializers.JsonSerialization  penstock.serializers.OrJsonSerialization
    penstock.serializers.MsgPackSerialization  penstock.serializers.base.BaseSerialization
    penstock.connectors.base.BaseConsumer  penstock.connectors.base.BaseProducer
    penstock.connectors.confluent.ConfluentKafkaConsumer  penstock.connectors.confluent.ConfluentKafkaProducer
    penstock.connectors.rsmq.RSMQConsumer  penstock.connectors.rsmq.RSMQProducer
    penstock.connectors.zmq.ZMQConsumer  penstock.connectors.zmq.ZMQProducer
"""


@pytest.mark.parametrize("path", NAMES.split())
def test_a_name_of_the_documents_exists(path: str) -> None:
    """As an import and as a path in a configuration."""
    module, _, name = path.rpartition(".")

    assert resolve(path) is getattr(import_module(module), name)


def test_the_hint_knows_what_is_offered() -> None:
    """Where this distribution is missing, the error says what to install."""
    beside = ("penstock.data_models", "penstock.serializers")  # the core has these modules, and not all of the names

    ours = {name for name in NAMES.split() if hints.extra_for("module", name) == "compat"}
    modules = {name.rpartition(".")[0] for name in NAMES.split()} & set(hints.known_names("module"))
    assert ours | modules == set(hints.known_names("module"))
    assert {name for name in ours if not name.startswith(beside)} == set()


QUEUES = """
- name: in
  value: orders
  data_model: penstock.data_models.GenericMessage
  model_handler: penstock.models.PydanticModelHandler
  serializer: penstock.serializers.{serializer}
  consumer: penstock.connectors.{consumer}
  producer: penstock.connectors.{producer}
  config: {config}
"""


@pytest.mark.parametrize(
    ("serializer", "consumer", "config", "connector"),
    [
        ("OrJsonSerialization", "confluent.ConfluentKafka", "{bootstrap.servers: 'k:9092', group.id: g}", "kafka"),
        ("MsgPackSerialization", "rsmq.RSMQ", "{host: redis}", "rsmq"),
        ("JsonSerialization", "zmq.ZMQ", "{port: 5555}", "zmq.reply"),
    ],
)
def test_the_names_stand_for_what_is_installed(
    serializer: str, consumer: str, config: str, connector: str, tmp_path: object
) -> None:
    """A queue that names Volley's classes has Penstock's connector, with its options and checks."""
    import yaml

    text = QUEUES.format(
        serializer=serializer, consumer=f"{consumer}Consumer", producer=f"{consumer}Producer", config=config
    )
    (queue,) = yaml.safe_load(text)
    configuration = load({queue.pop("name"): queue})
    resolution = validate(configuration, "in", "input", registry=registry_for(configuration))

    assert resolution.problems == []
    assert resolution.resolved is not None
    assert resolution.resolved.connector == connector
    assert resolution.resolved.serializer is not None
    assert resolution.resolved.serializer.format == ("msgpack" if "MsgPack" in serializer else "json")
    assert type(resolution.resolved.model_handler).__module__ == "penstock.builtin.pydantic_handler"
