"""From a queue's settings to what the engine opens: whose word counts, and what is refused."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from core.tests import acme
from pydantic import BaseModel

from penstock.builtin.json_serializer import JsonSerializer
from penstock.builtin.pydantic_handler import PydanticModelHandler
from penstock.capabilities import Capabilities
from penstock.config.files import load
from penstock.config.model import QueueConfig
from penstock.config.resolve import registry_for, resolve_queue, resolve_queues, validate
from penstock.connectors import Consumer
from penstock.data_models import GenericMessage
from penstock.errors import ConfigError
from penstock.message import QueueMessage
from penstock.model_handlers import ModelHandler
from penstock.options import Role
from penstock.queues.resolved_queue import ResolvedQueue
from penstock.serializers import Serializer
from penstock.specs import ConnectorSpec


@pytest.fixture(autouse=True)
def _acme(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    acme.install(monkeypatch, tmp_path)


class Order(BaseModel):
    """A data model of the user's."""

    id: int


class Upper(Serializer):
    """A serializer of the user's."""

    format = "upper"

    def serialize(self, data: Any) -> bytes:
        return str(data).upper().encode()

    def deserialize(self, body: bytes) -> Any:
        return body.decode().lower()


class Plain(ModelHandler):
    """A model handler of the user's."""

    def construct(self, data: Any, data_model: Any) -> Any:
        return data_model(data)

    def deconstruct(self, model: Any, data_model: Any) -> Any:  # noqa: ARG002
        return model


class NeedsArguments(Serializer):
    """Cannot be made by name."""

    def __init__(self, level: int) -> None:
        self.level = level

    def serialize(self, data: Any) -> bytes:
        raise NotImplementedError

    def deserialize(self, body: bytes) -> Any:
        raise NotImplementedError


class Picky(Plain):
    """Refuses every data model when it sees it."""

    def decoder(self, data_model: Any, format: str) -> Any:  # noqa: A002, ARG002
        raise LookupError(f"no schema for {data_model.__name__}")


class ReferenceConsumer:
    """Written the way of the reference: one message at a time, no base class of ours."""

    def consume(self) -> QueueMessage | None:
        return None

    def on_success(self, message_context: Any) -> bool:  # noqa: ARG002
        return True

    def on_fail(self, message_context: Any) -> bool:  # noqa: ARG002
        return True

    def shutdown(self) -> None:
        return None


class OwnConsumer(Consumer):
    """A consumer that declares what it takes and can."""

    options_model = acme.OpenOptions
    capabilities = Capabilities(keys=True)

    async def connect(self) -> None:
        raise NotImplementedError

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        raise NotImplementedError

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        raise NotImplementedError

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:
        raise NotImplementedError

    async def shutdown(self) -> None:
        raise NotImplementedError


class BetterAcme(acme.AcmeConsumer):
    """The plugin's consumer, improved."""


def here(name: str) -> str:
    """The dotted path of something in this module."""
    return f"{__name__}.{name}"


def resolved(settings: Any, role: Role = "output", environment: dict[str, str] | None = None) -> ResolvedQueue:
    """The queue `orders` with these settings."""
    environment = environment or {}
    configuration = load({"orders": settings}, environment)
    return resolve_queue(configuration, "orders", role, registry=registry_for(configuration), environment=environment)


def refused(settings: Any, role: Role = "output", **environment: str) -> list[str]:
    """The problems of the queue `orders` with these settings, without the queue's name before each."""
    with pytest.raises(ConfigError) as error:
        resolved(settings, role, environment)
    return [problem.removeprefix("queue 'orders': ") for problem in error.value.problems]


class TestWhoseWordCounts:
    """The queue's own, else the profile's, else the environment's or the default's."""

    def test_without_a_word_it_is_json_and_pydantic_and_anything(self) -> None:
        """The smallest queue has a backend and nothing else."""
        queue = resolved({"connector": "acme-bare"})

        assert (queue.name, queue.value, queue.role, queue.location) == ("orders", "orders", "output", "")
        assert (queue.connector, queue.connector_class) == ("acme-bare", acme.AcmeProducer)
        assert isinstance(queue.serializer, JsonSerializer)
        assert isinstance(queue.model_handler, PydanticModelHandler)
        assert (queue.data_model, queue.data_model_is_default, queue.batch) == (Any, True, None)
        assert queue.options == {}

    def test_a_profile_sets_every_stage(self) -> None:
        """A profile alone is a whole queue."""
        queue = resolved({"profile": "acme"}, "input", {"ACME_HOST": "h"})

        assert queue.connector_class is acme.AcmeConsumer
        assert queue.capabilities == acme.ACME.capabilities
        assert isinstance(queue.serializer, JsonSerializer)
        assert (queue.data_model, queue.data_model_is_default) == (GenericMessage, True)
        assert (queue.options.port, queue.options.group_id) == (7001, "shared")

    def test_a_profile_can_leave_every_stage_out(self) -> None:
        """For dead letters the bytes stay as they came."""
        queue = resolved({"profile": "acme-dlq"})

        assert (queue.serializer, queue.model_handler, queue.data_model) == (None, None, None)
        assert queue.data_model_is_default is False

    def test_a_queue_overrides_its_profile(self) -> None:
        """Key by key, options too."""
        queue = resolved(
            {
                "profile": "acme",
                "value": "orders.v1",
                "serializer": here("Upper"),
                "data_model": Order,
                "batch": True,
                "config": {"port": 1},
            },
            "input",
            {"ACME_HOST": "h", "ACME_PORT": "2"},
        )

        assert queue.value == "orders.v1"
        assert isinstance(queue.serializer, Upper)
        assert (queue.data_model, queue.data_model_is_default, queue.batch) == (Order, False, True)
        assert (queue.options.port, queue.options.group_id) == (1, "shared")

    def test_an_option_has_two_spellings_and_one_owner(self) -> None:
        """The queue's `group_id` replaces the profile's `group.id`."""
        assert resolved({"profile": "acme", "config": {"host": "h", "group_id": "mine"}}).options.group_id == "mine"

    def test_a_profiles_options_stay_with_its_connector(self) -> None:
        """A queue that names another connector does not inherit options which that one may not know."""
        assert resolved({"profile": "acme", "connector": "acme-bare"}).options == {}

    def test_the_environment_fills_what_is_not_set(self) -> None:
        """By role: the more specific variable first, and an empty one counts as not set."""
        environment = {"ACME_HOST": "all", "ACME_CONSUMER_HOST": "in", "ACME_PRODUCER_HOST": "", "ACME_PASSWORD": "pw"}
        settings = {"connector": "acme", "config": {"group.id": "g"}}

        assert resolved(settings, "input", environment).options.host == "in"
        assert resolved(settings, "output", environment).options.host == "all"
        assert resolved(settings, "output", environment).options.password.get_secret_value() == "pw"
        assert resolved({"connector": "acme", "config": {"host": "own"}}, "output", environment).options.host == "own"

    def test_a_profile_that_batches(self) -> None:
        """Said by a profile, kept unless the queue says otherwise."""
        assert resolved({"profile": "acme-batch"}).batch is True
        assert resolved({"profile": "acme-batch", "batch": False}).batch is False

    def test_origins_tell_where_each_value_came_from(self, tmp_path: Path) -> None:
        """File and line, profile, environment or default, for each key."""
        file = tmp_path / "queues.yml"
        file.write_text("orders:\n  profile: acme\n  value: ${NAME}\n  config:\n    password: ${PW:-x}\n")
        environment = {"NAME": "n", "ACME_HOST": "h"}
        configuration = load(file, environment)

        queue = resolve_queue(
            configuration, "orders", "input", registry=registry_for(configuration), environment=environment
        )

        assert queue.location == f"{file}:1"
        assert queue.origins == {
            "profile": f"{file}:2",
            "connector": "profile acme",
            "consumer": "connector acme",
            "config.port": "profile acme",
            "config.group.id": "profile acme",
            "config.password": f"{file}:5",
            "config.host": "environment ACME_HOST",
            "serializer": "profile acme",
            "model_handler": "profile acme",
            "data_model": "profile acme",
            "batch": "default",
            "envelope": "default",
            "value": f"{file}:3, environment NAME",
        }


class TestClassesOfTheUsersOwn:
    """Besides names, classes and dotted paths."""

    def test_a_class_of_the_references_kind(self) -> None:
        """No base class and no options model: the options are a plain dict, and nothing is promised for it."""
        settings = {"consumer": here("ReferenceConsumer"), "config": {"host": "h", "n": [1]}}
        before = copy.deepcopy(settings)

        queue = resolved(settings, "input")
        queue.options["n"].append(2)

        assert (queue.connector, queue.connector_class) == ("ReferenceConsumer", ReferenceConsumer)
        assert queue.capabilities == Capabilities()
        assert settings == before

    @pytest.mark.parametrize("consumer", [OwnConsumer, here("OwnConsumer"), f"{__name__}:OwnConsumer"])
    def test_a_class_may_declare_its_options_and_capabilities(self, consumer: Any) -> None:
        """As class attributes, since it has no spec."""
        queue = resolved({"consumer": consumer, "config": {"x": 1}}, "input")

        assert isinstance(queue.options, acme.OpenOptions)
        assert queue.capabilities == Capabilities(keys=True)

    def test_a_class_derived_from_a_connectors_keeps_its_options(self) -> None:
        """Options, capabilities and check are the connector's; the class is the queue's."""
        queue = resolved({"profile": "acme", "consumer": BetterAcme, "config": {"host": "h"}}, "input")

        assert queue.connector_class is BetterAcme
        assert (queue.connector, queue.options.port) == ("acme", 7001)
        assert queue.capabilities == acme.ACME.capabilities

    def test_a_class_may_replace_a_connector_that_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of a profile whose connector is broken the rest still serves."""
        monkeypatch.setattr(acme, "penstock_connectors", list)

        assert resolved({"profile": "acme", "consumer": ReferenceConsumer}, "input").connector == "ReferenceConsumer"

    def test_one_side_by_class_and_the_other_by_name(self) -> None:
        """`consumer` says nothing about the producer."""
        assert resolved({"connector": "acme-bare", "consumer": ReferenceConsumer}).connector_class is acme.AcmeProducer

    @pytest.mark.parametrize("connector", [acme.ACME, f"{acme.HERE}.ACME", f"{acme.HERE}:ACME"])
    def test_a_spec_may_stand_for_a_name(self, connector: Any) -> None:
        """A connector that is not packaged is used by its spec."""
        assert resolved({"connector": connector, "config": {"host": "h"}}).connector == "acme"

    def test_stages_by_class_and_path(self) -> None:
        """Each is made once, without arguments."""
        queue = resolved(
            {
                "connector": "acme-bare",
                "serializer": Upper,
                "model_handler": here("Plain"),
                "data_model": "builtins:str",
            }
        )

        assert isinstance(queue.serializer, Upper)
        assert isinstance(queue.model_handler, Plain)
        assert queue.data_model is str

    def test_any_type_that_the_handler_understands_is_a_data_model(self) -> None:
        """Not only classes."""
        assert resolved({"connector": "acme-bare", "data_model": list[Order]}).data_model == list[Order]


class TestStagesThatAreOff:
    """A model needs a handler, and a handler a model."""

    def test_no_serializer_hands_bytes_to_the_handler(self) -> None:
        """The handler stays."""
        queue = resolved({"connector": "acme-bare", "serializer": "none"})

        assert queue.serializer is None
        assert isinstance(queue.model_handler, PydanticModelHandler)

    @pytest.mark.parametrize("key", ["model_handler", "data_model"])
    def test_turning_off_one_turns_off_the_other(self, key: str) -> None:
        """As long as the other comes from a profile or a default."""
        for settings in ({"profile": "acme-batch"}, {"connector": "acme-bare"}):
            queue = resolved({**settings, key: "disabled"})

            assert (queue.model_handler, queue.data_model, queue.data_model_is_default) == (None, None, False)
            assert isinstance(queue.serializer, JsonSerializer)

    def test_a_contradiction_is_refused(self) -> None:
        """One of the two off and the other given is a mistake, not a choice."""
        assert refused({"connector": "acme-bare", "model_handler": None, "data_model": Order}) == [
            "'data_model' is given, but 'model_handler' is off; leave it out, or name a model handler"
        ]
        assert refused({"profile": "acme-dlq", "data_model": Order}) == [
            "'data_model' is given, but profile acme-dlq has no model handler; leave it out, or name a model handler"
        ]
        assert refused({"connector": "acme-bare", "model_handler": "pydantic", "data_model": None}) == [
            "'data_model' is off, but 'model_handler' is given; turn off both or none"
        ]

    def test_a_handler_over_a_profile_without_one(self) -> None:
        """It gets the default data model, which a function's annotation may replace."""
        queue = resolved({"profile": "acme-dlq", "model_handler": "pydantic"})

        assert (queue.data_model, queue.data_model_is_default) == (Any, True)


class TestRefusals:
    """What, where, and what to do; whole sentences."""

    def test_an_unknown_connector(self) -> None:
        """A name that is nearly right."""
        assert refused({"connector": "acme-opn"}) == [
            "connector 'acme-opn': nothing that is installed offers one of this name; did you mean 'acme-open'?"
        ]

    def test_an_unknown_profile(self) -> None:
        """A name that some plugin of ours would bring."""
        assert refused({"profile": "acme-dql"}) == [
            "profile 'acme-dql': nothing that is installed offers one of this name; did you mean 'acme-dlq'?"
        ]

    def test_a_queue_that_is_not_configured(self, tmp_path: Path) -> None:
        """Says what there is, where, and what was probably meant."""
        file = tmp_path / "queues.yml"
        file.write_text("orders: {profile: acme}\naudit: {profile: acme}\n")
        configuration = load(file, {})
        registry = registry_for(configuration)

        with pytest.raises(ConfigError) as error:
            resolve_queues(configuration, [("order", "input"), ("x", "output")], registry=registry, environment={})

        assert error.value.problems == (
            f"queue 'order' is not in {file}, which has 'orders', 'audit'; did you mean 'orders'?",
            f"queue 'x' is not in {file}, which has 'orders', 'audit'",
        )

    def test_a_data_model_that_does_not_import(self) -> None:
        """Which part of the path is wrong, and what is near it."""
        assert refused({"connector": "acme-bare", "data_model": here("Oder")}) == [
            f"'data_model': '{here('Oder')}' cannot be imported: "
            f"module {__name__!r} has no attribute 'Oder' (did you mean 'Order'?)"
        ]

    def test_no_backend_at_all(self) -> None:
        """Names the three ways to give one."""
        (problem,) = refused({"value": "x"}, "input")

        assert problem.startswith("names no backend; add 'connector' (installed: acme, acme-bare, acme-open, acme-sink")
        assert problem.endswith("), 'profile', or a class as 'consumer'")

    def test_a_connector_without_the_wanted_side(self) -> None:
        """Says which side there is."""
        assert refused({"connector": "acme-sink"}, "input") == [
            "connector 'acme-sink' has no consumer, so the queue can be an output but not an input; "
            "use another connector"
        ]
        assert refused({"consumer": ReferenceConsumer}, "output") == [
            "has a 'consumer' only, so it cannot be an output; add a 'producer'"
        ]

    def test_a_class_that_is_none(self) -> None:
        """Nothing is called that cannot consume."""
        assert refused({"consumer": here("here")}, "input") == [
            f"'consumer' is '{here('here')}', which is not a class but a function"
        ]
        assert refused({"consumer": Order}, "input") == [
            "'consumer' is Order, which has no method 'consume'; derive it from penstock.connectors.Consumer"
        ]

    def test_a_stage_that_is_none(self) -> None:
        """A serializer must be one, and must be made without arguments."""
        assert refused({"connector": "acme-bare", "serializer": here("Order"), "model_handler": Upper}) == [
            f"'serializer' is '{here('Order')}', which is not a class derived from penstock.serializers.Serializer",
            "'model_handler' is Upper, which is not a class derived from penstock.model_handlers.ModelHandler",
        ]
        (problem,) = refused({"connector": "acme-bare", "serializer": NeedsArguments})
        assert problem.startswith("'serializer' is NeedsArguments, which cannot be made without arguments: TypeError: ")

    def test_a_data_model_that_the_handler_cannot_build(self) -> None:
        """Found now, not at the first message."""
        assert refused({"connector": "acme-bare", "model_handler": Picky, "data_model": Order}) == [
            "'data_model' does not suit Picky: LookupError: no schema for Order"
        ]
        (problem,) = refused({"connector": "acme-bare", "data_model": ReferenceConsumer})
        assert problem.startswith("data model ReferenceConsumer: pydantic cannot build it: ")

    def test_a_connector_path_that_is_no_spec(self) -> None:
        """A class under `connector` is told where it belongs."""
        assert refused({"connector": here("OwnConsumer")}) == [
            f"'connector' is '{here('OwnConsumer')}', which is not a ConnectorSpec; "
            "write the name that a plugin offers, and a class under 'consumer' or 'producer'"
        ]

    def test_import_paths_can_be_turned_off(self) -> None:
        """For deployments where others write the configuration; nothing is imported then."""
        sys.modules.pop("never_imported", None)
        source = {
            "queues": {"orders": {"consumer": "never_imported.C", "data_model": here("Order"), "connector": "acme"}},
            "plugins": {"allow_import_paths": False},
        }
        configuration = load(source, {})

        problems = validate(
            configuration, "orders", "input", registry=registry_for(configuration), environment={}
        ).problems

        assert len(problems) == 2
        assert all(
            "these are turned off (plugins.allow_import_paths: false)" in problem for problem in map(str, problems)
        )

    def test_classes_given_in_python_need_no_import_paths(self) -> None:
        """The author of the program can run code anyway."""
        source = {"queues": {"a": {"consumer": ReferenceConsumer}}, "plugins": {"allow_import_paths": False}}
        configuration = load(source, {})

        assert validate(configuration, "a", "input", registry=registry_for(configuration), environment={}).resolved

    def test_a_blocked_plugin_does_not_serve(self) -> None:
        """The configuration's plugin settings reach the registry."""
        configuration = load({"queues": {"a": {"connector": "acme"}}, "plugins": {"block": ["acme"]}}, {})

        (problem,) = validate(
            configuration, "a", "input", registry=registry_for(configuration), environment={}
        ).problems

        assert "blocked" in str(problem)

    def test_missing_variables_stop_the_queue_that_needs_them(self) -> None:
        """With all other problems of the queue, and without follow-ups of the missing ones."""
        settings = {
            "connector": "acme",
            "model_handler": "${HANDLER}",
            "batch": "${BATCH}",
            "config": {"port": "${PORT}", "hst": "x"},
        }

        assert refused(settings, "output", ACME_HOST="h") == [
            "'model_handler' needs the environment variable HANDLER, which is not set; "
            "set it, or write a default: ${HANDLER:-default}",
            "'batch' needs the environment variable BATCH, which is not set; "
            "set it, or write a default: ${BATCH:-default}",
            "'config.port' needs the environment variable PORT, which is not set; "
            "set it, or write a default: ${PORT:-default}",
            "'config.hst' is not a key of connector 'acme'; did you mean 'host'?",
        ]

    def test_missing_variables_of_other_queues_do_not_matter(self) -> None:
        """Workers that share a file need not share every secret."""
        configuration = load({"a": {"connector": "acme-bare"}, "b": {"config": {"password": "${PW}"}}}, {})

        assert (
            validate(configuration, "a", "input", registry=registry_for(configuration), environment={}).problems == []
        )

    def test_all_problems_of_all_queues_come_together(self) -> None:
        """One start shows everything, and a queue with two roles says each thing once."""
        configuration = load([QueueConfig(name="a", connector="nothing"), QueueConfig(name="b")], {})

        with pytest.raises(ConfigError) as error:
            resolve_queues(
                configuration,
                [("a", "input"), ("a", "output"), ("b", "output")],
                registry=registry_for(configuration),
                environment={},
            )

        assert [problem.partition(":")[0] for problem in error.value.problems] == ["queue 'a'", "queue 'b'"]


def test_nothing_secret_is_in_a_repr() -> None:
    """A resolved queue ends in logs; its options may be a plain dict with passwords."""
    assert "hunter2" not in repr(resolved({"connector": "acme-bare", "config": {"password": "hunter2"}}))


def test_a_client_is_imported_only_for_queues_that_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken backend does no harm until a queue names it."""
    monkeypatch.setitem(sys.modules, "acme_lazy", ModuleType("acme_lazy"))
    lazy = ConnectorSpec("lazy", consumer="acme_lazy:Missing")
    configuration = load({"a": {"connector": lazy}, "b": {"connector": "acme-bare"}}, {})
    registry = registry_for(configuration)

    assert validate(configuration, "b", "input", registry=registry, environment={}).problems == []
    resolution = validate(configuration, "a", "input", registry=registry, environment={})
    assert [str(problem) for problem in resolution.problems] == [
        "queue 'a': connector 'lazy': 'acme_lazy:Missing' cannot be imported: "
        "module 'acme_lazy' has no attribute 'Missing'"
    ]
