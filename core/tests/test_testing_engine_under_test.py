"""What a harness keeps of a configuration, and what it replaces."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from penstock import Consumer, Engine, Output, QueueConfig, QueueMessage
from penstock.capabilities import Capabilities
from penstock.errors import ConfigError, PluginError, UnknownNameError
from penstock.plugins import discovery
from penstock.specs import ConnectorSpec
from penstock.testing import Harness


class Order(BaseModel):
    id: int


@pytest.fixture
def nothing_else_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the core's own only `memory` and `msgpack`, which has no profiles."""
    found = [entry for entry in discovery.scan() if entry.name in ("builtin", "memory", "msgpack")]
    monkeypatch.setattr(discovery, "scan", lambda: tuple(found))


def nowhere(name: str = "acme", **can: Any) -> ConnectorSpec:
    """A connector whose client is not installed."""
    return ConnectorSpec(
        name,
        consumer="acme_client.consumer:C",
        producer="acme_client.producer:P",
        options="acme_client.options:O",
        check="acme_client.check:check",
        capabilities=Capabilities(**can),
    )


def engine(function: Callable[..., Any], queues: Any, **settings: Any) -> Engine:
    """An engine from `in` to `out`."""
    app = Engine("in", ["out"], queue_config=queues, **settings)
    app.stream_app(function)
    return app


def forward(message: Any) -> Any:
    return [("out", message)]


def test_a_connector_is_neither_imported_nor_asked_about_its_options() -> None:
    """It need not be installed; its options may be nonsense, and their variables not set."""
    queues = {
        "in": {"connector": nowhere(), "config": {"url": "${NOT_SET_ANYWHERE}", "no such": [1]}},
        "out": {"connector": "not-installed", "value": "${NOT_SET_EITHER}"},
    }
    with Harness(engine(forward, queues)) as harness:
        harness.send("in", {"a": 1})
        harness.run()

        assert harness.sent("out") == [{"a": 1}]


@pytest.mark.parametrize("key", ["value", "config", "connector", "consumer"])
def test_a_variable_that_only_says_where_a_queue_is_need_not_be_set(key: str) -> None:
    """Its name stands for the backend's."""
    value = {"url": "${NOT_SET_ANYWHERE}"} if key == "config" else "${NOT_SET_ANYWHERE}"
    queues = {"in": {key: value}, "out": {}, "dlq": {}}
    with Harness(engine(forward, queues, dead_letter_queue="dlq")) as harness:
        harness.send("in", b"{")
        harness.run()

        assert harness.dead_letters()[0].queue == "in"


def test_classes_of_the_users_own_are_replaced() -> None:
    """Given as classes or as paths, importable or not."""

    class Mine(Consumer):
        async def connect(self) -> None:
            raise AssertionError("a harness must not connect")

    queues: Any = {"in": {"consumer": Mine}, "out": {"producer": "some.module.of:Mine"}}
    Mine.__abstractmethods__ = frozenset()
    with Harness(engine(forward, queues)) as harness:
        harness.send("in", [1])
        harness.run()

        assert harness.sent("out") == [[1]]


def test_the_real_names_are_in_what_an_engine_says() -> None:
    """A dead letter's origin is the backend's name of the queue; a connector has its own name."""
    queues = {
        "in": {"connector": nowhere("kafka"), "value": "acme.orders.v1", "data_model": Order},
        "out": {},
        "dlq": {},
    }
    app = engine(forward, queues, dead_letter_queue="dlq")
    with Harness(app) as harness:
        harness.send("in", b"{}")
        harness.run()
        assert harness.dead_letters()[0].queue == "acme.orders.v1"
    with Harness(engine(forward, queues)) as harness:
        harness.send("in", b"{}")
        with pytest.raises(Exception, match="queue 'in', kafka, message at 1"):
            harness.run()


def test_codecs_data_models_and_batches_are_kept() -> None:
    """Each stage as it is configured: here msgpack, a model, and a function that gets lists."""
    pytest.importorskip("msgpack")
    queues = {
        "in": {"connector": nowhere(), "serializer": "msgpack", "data_model": Order, "batch": True},
        "out": {"connector": nowhere(), "serializer": None, "model_handler": None},
    }

    def function(orders: list[Order]) -> Any:
        return [("out", b"%d" % sum(order.id for order in orders))]

    with Harness(engine(function, queues)) as harness:
        harness.send("in", Order(id=1))
        harness.send("in", {"id": 2})
        harness.send("in", b"\x81\xa2id\x03")
        harness.run()

        assert harness.sent("out") == [b"6"]


def test_settings_are_kept() -> None:
    """Those of the engine's section, and those of the engine."""
    config = {
        "queues": {"in": {}, "out": {}, "dlq": {}},
        "engine": {"retry": {"max_attempts": 5, "initial_delay": 1.0, "jitter": 0.0, "factor": 1.0}},
    }

    def fail(message: Any) -> None:
        raise ValueError

    with Harness(engine(fail, config, dead_letter_queue="dlq")) as harness:
        harness.send("in", 1)
        harness.run()
        assert (harness.attempts, round(harness.elapsed, 3)) == ([5], 4.0)
    app = engine(fail, config, dead_letter_queue="dlq", retry={"max_attempts": 2, "initial_delay": 7.0, "jitter": 0.0})
    with Harness(app) as harness:
        harness.send("in", 1)
        harness.run()
        assert (harness.attempts, round(harness.elapsed, 3)) == ([2], 7.0)


def test_exactly_once_is_tested_as_at_least_once() -> None:
    """Queues in memory have no transactions; the function does the same."""
    for settings in ({"delivery": "exactly_once"}, {}):
        config = {"queues": {"in": {}, "out": {}}, "engine": {"delivery": "exactly_once"}}
        with Harness(engine(forward, config, **settings)) as harness:
            harness.send("in", 1)
            harness.run()
            assert harness.sent("out") == [1]


# -- profiles


@pytest.mark.parametrize("profile", ["confluent", "confluent-orjson-pydantic", "rsmq", "memory"])
@pytest.mark.usefixtures("nothing_else_installed")
def test_a_profile_of_ours_need_not_be_installed(profile: str) -> None:
    """JSON and pydantic, and the function's annotation as the data model."""
    seen: list[Any] = []

    def function(order: Order) -> None:
        seen.append(order)

    with Harness(engine(function, {"in": {"profile": profile}, "out": {}})) as harness:
        harness.send("in", Order(id=1))
        harness.run()

    assert seen == [Order(id=1)]


@pytest.mark.parametrize(
    ("profile", "body"), [("confluent-dlq", b"\xff"), ("confluent-msgpack-pydantic", b"\x81\xa2id\x01")]
)
@pytest.mark.usefixtures("nothing_else_installed")
def test_the_name_of_a_profile_of_ours_tells_its_codec(profile: str, body: bytes) -> None:
    """Raw bytes for `-dlq`, and the serializer that it names."""
    pytest.importorskip("msgpack")
    seen: list[Any] = []
    with Harness(engine(seen.append, {"in": {"profile": profile}, "out": {}})) as harness:
        harness.send("in", body)
        harness.run()

    assert seen[0] == body if profile == "confluent-dlq" else seen[0].id == 1


@pytest.mark.usefixtures("nothing_else_installed")
def test_a_profile_of_ours_for_batches_hands_over_lists() -> None:
    """By its name, too."""
    seen: list[Any] = []

    def function(orders: list[Order]) -> None:
        seen.append(orders)

    with Harness(engine(function, {"in": {"profile": "confluent-batch-json"}, "out": {}})) as harness:
        for number in range(3):
            harness.send("in", Order(id=number))
        harness.run()

    assert seen == [[Order(id=0), Order(id=1), Order(id=2)]]


@pytest.mark.usefixtures("nothing_else_installed")
@pytest.mark.parametrize("profile", ["confluent-dlq", "memory-dlq"])
def test_a_queues_own_keys_win_over_the_profile(profile: str) -> None:
    """Installed or not."""
    with Harness(engine(forward, {"in": {"profile": profile, "serializer": "json"}, "out": {}})) as harness:
        harness.send("in", [1])
        harness.run()

        assert harness.sent("out") == [[1]]


@pytest.mark.parametrize("profile", ["acme-fast", "confluent-avro", "confluennt", "memory-batch-json"])
@pytest.mark.usefixtures("nothing_else_installed")
def test_a_profile_of_which_nothing_is_known_is_refused_with_the_way_out(profile: str, tmp_path: Path) -> None:
    """Place, reason and remedy; a misspelt one must not become something else."""
    file = tmp_path / "queues.yml"
    file.write_text(f"in:\n  profile: {profile}\nout:\n  profile: memory\n")
    with pytest.raises(ConfigError, match=rf"queue 'in' \({file}:2:3\): profile '{profile}'.*profiles={{'{profile}': "):
        Harness(engine(forward, None, yaml_config_path=file))


def test_a_test_can_say_what_a_profile_sets() -> None:
    """For a profile of a third party's plugin that is not installed."""
    profiles = {"acme-fast": {"serializer": None, "model_handler": None}}
    with Harness(engine(forward, {"in": {"profile": "acme-fast"}, "out": {}}), profiles=profiles) as harness:
        harness.send("in", b'"raw"')
        harness.run()

        assert harness.records("out")[0].message == b'"\\"raw\\""'


# -- what the real connector can do


def test_a_delay_that_the_real_connector_does_not_have_is_refused() -> None:
    """In the words of production, which name that connector."""
    queues = {"in": {}, "out": {"connector": nowhere("acme")}, "dlq": {}}
    app = engine(lambda m: Output("out", m, delay=5), queues, dead_letter_queue="dlq", retry={"max_attempts": 1})
    with Harness(app) as harness:
        harness.send("in", 1)
        harness.run()

        assert harness.sent("out") == []
        assert "connector 'acme' has no 'record_delay'" in harness.dead_letters()[0].error_text


def test_where_the_real_connector_has_a_delay_so_has_its_fake() -> None:
    """And where nothing is known of it."""
    for connector in (nowhere(record_delay=True), "not-installed"):
        app = engine(lambda m: Output("out", m, delay=5), {"in": {}, "out": {"connector": connector}})
        with Harness(app) as harness:
            harness.send("in", 1)
            harness.run()

            assert [record.delay for record in harness.records("out")] == [5]


def test_a_class_of_the_users_own_can_do_what_it_says() -> None:
    """Its attribute `capabilities`; without one it can do nothing, as in production."""

    class Mine:
        def produce(self) -> None: ...

    class Keyed(Mine):
        capabilities = Capabilities(keys=True, headers=True, tombstones=True)

    for producer, expected in ((Keyed, b"k"), (Mine, None), ("no.such.module:Mine", None)):
        with Harness(engine(forward, {"in": {}, "out": {"producer": producer}})) as harness:
            harness.send("in", 1, key="k")
            harness.run()

            assert [record.key for record in harness.records("out")] == [expected]


def test_a_class_derived_from_a_connectors_own_can_do_what_that_can() -> None:
    """Told by names, as in production."""

    class Base:
        def produce(self) -> None: ...

    class Derived(Base):
        pass

    Base.__module__, Base.__qualname__ = "acme_client.producer", "P"
    queues = {"in": {}, "out": {"connector": nowhere(keys=True, headers=True, tombstones=True), "producer": Derived}}
    with Harness(engine(forward, queues)) as harness:
        harness.send("in", 1, key="k")
        harness.run()

        assert [record.key for record in harness.records("out")] == [b"k"]


def test_an_input_key_is_inherited_only_where_the_real_output_has_keys() -> None:
    """As in production."""
    for can, expected in ((True, b"k"), (False, None)):
        queues = {"in": {}, "out": {"connector": nowhere(keys=can, headers=can, tombstones=can)}}
        with Harness(engine(forward, queues)) as harness:
            harness.send("in", 1, key="k")
            harness.run()

            assert [record.key for record in harness.records("out")] == [expected]


def test_what_travels_in_an_envelope_is_shown_without_it() -> None:
    """On a backend that has neither headers nor keys, from one engine to the next."""
    bare = {"connector": nowhere()}
    queues = {"in": bare, "out": bare, "end": bare}
    seen: list[Any] = []

    def second(number: int, msg_ctx: QueueMessage) -> None:
        seen.append((number, msg_ctx.key, list(msg_ctx.headers)))

    reader = Engine("out", queue_config=queues)
    reader.stream_app(second)
    writer = engine(lambda m: Output("out", m, key="k", headers={"h": "v"}, partition=3), queues)
    with Harness(writer, reader) as harness:
        harness.send("in", 1)
        harness.run()

        (record,) = harness.records("out")
        assert (record.message, record.key, record.headers) == (b"1", b"k", [("h", b"v")])
        assert record.options == {"partition": 3}
        assert harness.sent("out") == [1]
    assert seen == [(1, b"k", [("h", b"v")])]


def test_attempts_begin_anew_with_each_worker_where_the_backend_does_not_count() -> None:
    """A backend that counts deliveries knows of the run before; another one does not."""
    for counts, expected in ((True, [1, 2]), (False, [1, 1])):
        seen: list[int] = []

        def function(number: int, msg_ctx: QueueMessage, seen: list[int] = seen) -> None:
            seen.append(msg_ctx.attempts)
            if len(seen) == 1:
                raise KeyboardInterrupt

        queues = {"in": {"connector": nowhere(redelivery_count=counts)}, "out": {}}
        with Harness(engine(function, queues)) as harness:
            harness.send("in", 1)
            with pytest.raises(KeyboardInterrupt):
                harness.run()
            harness.run()

        assert seen == expected


def test_queues_of_one_name_on_two_backends_are_two() -> None:
    """`orders` on Kafka and `orders` on Redis have nothing to do with each other."""
    queues = {
        "in": {"value": "orders", "connector": nowhere("kafka")},
        "out": {"value": "orders", "connector": nowhere("rsmq")},
    }
    with Harness(engine(forward, queues)) as harness:
        harness.send("in", 1)
        harness.run()

        assert (harness.sent("out"), harness.attempts) == ([1], [1])


def test_two_names_of_one_queue_are_one() -> None:
    """What goes to the one comes from the other."""
    queues = {
        "in": {"value": "orders", "connector": nowhere()},
        "out": {"value": "orders", "connector": nowhere()},
    }
    app = engine(lambda number: [("out", number + 1)] if number < 3 else None, queues)
    with Harness(app) as harness:
        harness.send("in", 1)
        harness.run()

        assert harness.sent("out") == [2, 3]


# -- the configuration itself


def test_another_configuration_can_be_given() -> None:
    """As `penstock run --config` does; the engine's own is not read."""
    app = Engine("in", ["out"], yaml_config_path="there/is/no/such.yml")
    app.stream_app(forward)
    with Harness(app, config=[QueueConfig(name="in"), QueueConfig(name="out")]) as harness:
        harness.send("in", 1)
        harness.run()

        assert harness.sent("out") == [1]


def test_the_environment_is_read_anew_for_each_harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test sets does not reach the next one through the engine."""
    file = tmp_path / "queues.yml"
    file.write_text("in:\n  value: ${QUEUE}\nout: {}\ndlq: {}\n")
    app = engine(forward, None, yaml_config_path=file, dead_letter_queue="dlq")
    for name in ("one", "two"):
        monkeypatch.setenv("QUEUE", name)
        with Harness(app) as harness:
            harness.send("in", b"{")
            harness.run()

            assert harness.dead_letters()[0].queue == name


def test_what_is_wrong_with_a_configuration_is_told_as_always(tmp_path: Path) -> None:
    """A missing queue, a misspelt key, a data model that is not there, a variable that a codec needs."""
    file = tmp_path / "queues.yml"
    wrong = {
        "in: {}\n": "there is no queue 'out'|'out'",
        "in:\n  serialiser: json\nout: {}\n": "serializer",
        "in:\n  data_model: no.such.Model\nout: {}\n": "'no.such.Model' cannot be imported",
        "in:\n  serializer: ${NOT_SET_ANYWHERE}\nout: {}\n": "NOT_SET_ANYWHERE, which is not set",
        "in:\n  profile: ${NOT_SET_ANYWHERE}\nout: {}\n": "NOT_SET_ANYWHERE, which is not set",
    }
    for text, expected in wrong.items():
        file.write_text(text)
        with pytest.raises(ConfigError, match=expected):
            Harness(engine(forward, None, yaml_config_path=file))


@pytest.mark.usefixtures("nothing_else_installed")
def test_plugins_that_are_not_allowed_in_production_do_not_keep_memory_out() -> None:
    """`plugins.allow` lists what production needs, which `memory` is not."""
    config = {"queues": {"in": {"profile": "confluent"}, "out": {}}, "plugins": {"allow": ["penstock-kafka"]}}
    with Harness(engine(forward, config)) as harness:
        harness.send("in", {"a": 1})
        harness.run()

        assert harness.records("out")[0].message == b'{"a":1}'


def test_without_memory_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or, if it is kept out on purpose, by what."""
    monkeypatch.setenv("PENSTOCK_PLUGINS_BLOCK", "memory")
    with pytest.raises(PluginError, match="memory") as caught:
        Harness(engine(forward, {"in": {}, "out": {}}))
    assert not isinstance(caught.value, UnknownNameError)


def test_a_run_imports_no_client_and_the_package_nothing_until_it_is_used() -> None:
    """A profile of a plugin that is installed is asked for its codec; its client stays where it is."""
    code = """
import sys
import penstock.testing
assert not any(name.startswith(("pydantic", "asyncio")) for name in sys.modules), "eager"
from penstock import Engine
app = Engine("in", ["out"], queue_config={"in": {"profile": "rsmq", "config": {"host": "nowhere"}}, "out": {}})
app.stream_app(lambda m: [("out", 1)])
with penstock.testing.Harness(app) as harness:
    harness.send("in", {"a": 1})
    harness.run()
    assert harness.sent("out") == [1]
loaded = {name.partition(".")[0] for name in sys.modules}
print(sorted(loaded & {"redis", "rsmq", "confluent_kafka", "psycopg", "_pytest", "pytest"}))
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)

    assert (done.stdout, done.stderr) == ("[]\n", "")
