"""Every form of a configuration is read into the same thing, strictly, and with the place of each key."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.config.files import load, read
from penstock.config.model import Configuration, EngineSettings, QueueConfig
from penstock.errors import ConfigError

YAML = """\
queues:
  orders:
    value: orders.v1
    connector: acme
    serializer: None
    config:
      bootstrap.servers: ${BROKERS:-localhost:9092}
      retries: 3
  audit: {profile: acme}
engine:
  concurrency: 4
  retry: {max_attempts: 5}
worker:
  metrics_port: 3001
plugins:
  block: [other]
"""
TOML = """\
[queues.orders]
value = "orders.v1"
connector = "acme"
serializer = "None"
config = { "bootstrap.servers" = "${BROKERS:-localhost:9092}", retries = 3 }
[queues.audit]
profile = "acme"
[engine]
concurrency = 4
retry.max_attempts = 5
[worker]
metrics_port = 3001
[plugins]
block = ["other"]
"""
ORDERS = {
    "value": "orders.v1",
    "connector": "acme",
    "serializer": "None",
    "config": {"bootstrap.servers": "${BROKERS:-localhost:9092}", "retries": 3},
}
AUDIT = {"profile": "acme"}
REST = {
    "engine": {"concurrency": 4, "retry": {"max_attempts": 5}},
    "worker": {"metrics_port": 3001},
    "plugins": {"block": ["other"]},
}


def parts(configuration: Configuration) -> tuple[Any, ...]:
    """What a configuration says, without where."""
    return (
        {name: (queue, queue.model_fields_set) for name, queue in configuration.queues.items()},
        configuration.engine,
        configuration.worker,
        configuration.plugins,
    )


def written(folder: Path, text: str, name: str = "queues.yml") -> Path:
    """A file to load."""
    file = folder / name
    file.write_text(text)
    return file


def refused(source: Any, **environment: str) -> list[str]:
    """The problems of a source; the folder of a file is left out."""
    with pytest.raises(ConfigError) as error:
        load(source, environment)
    folder = f"{source.parent}/" if isinstance(source, Path) else "\0"
    return [problem.replace(folder, "") for problem in error.value.problems]


class TestForms:
    """One model behind every form."""

    def test_yaml_toml_and_mappings_say_the_same(self, tmp_path: Path) -> None:
        """The same configuration in three forms, and with queues in a list, is the same configuration."""
        expected = parts(load(written(tmp_path, YAML), {}))

        assert parts(load(written(tmp_path, TOML, "queues.toml"), {})) == expected
        as_json = json.dumps({"queues": {"orders": ORDERS, "audit": AUDIT}, **REST})
        assert parts(load(written(tmp_path, as_json, "queues.json"), {})) == expected
        assert parts(load({"queues": {"orders": ORDERS, "audit": AUDIT}, **REST}, {})) == expected
        assert (
            parts(load({"queues": [{"name": "orders", **ORDERS}, {"name": "audit", **AUDIT}], **REST}, {})) == expected
        )

    def test_queues_may_stand_alone(self, tmp_path: Path) -> None:
        """The reference's forms: a list at the top of the file, a mapping from names to settings, objects."""
        expected = parts(load({"queues": {"orders": ORDERS, "audit": AUDIT}}, {}))

        yaml = "- {name: orders, value: orders.v1, connector: acme, serializer: None, config: {bootstrap.servers: 'localhost:9092', retries: 3}}\n- {name: audit, profile: acme}\n"  # noqa: E501
        assert parts(load(written(tmp_path, yaml), {})) == expected
        assert parts(load({"orders": ORDERS, "audit": AUDIT}, {})) == expected
        assert parts(load([QueueConfig(name="orders", **ORDERS), QueueConfig(name="audit", **AUDIT)], {})) == expected
        assert parts(load([QueueConfig(name="orders", **ORDERS), {"name": "audit", **AUDIT}], {})) == expected
        assert parts(load({"orders": QueueConfig(name="orders", **ORDERS), "audit": AUDIT}, {})) == expected

    def test_the_manual_of_the_reference_loads_once_its_typo_is_mended(self, tmp_path: Path) -> None:
        """The YAML that registers a plugin by dotted paths, word for word but for `model_handler`."""
        queues = load(
            written(
                tmp_path,
                """\
- name: postgres_queue
  value: pg_queue_table
  data_model: volley.data_models.GenericMessage
  model_handler: volley.models.PydanticModelHandler
  serializer: None
  producer: example.plugins.my_plugin.MyPGProducer
  consumer: example.plugins.my_plugin.MyPGConsumer
""",
            )
        ).queues

        assert queues["postgres_queue"] == QueueConfig(
            name="postgres_queue",
            value="pg_queue_table",
            data_model="volley.data_models.GenericMessage",
            model_handler="volley.models.PydanticModelHandler",
            serializer="disabled",
            producer="example.plugins.my_plugin.MyPGProducer",
            consumer="example.plugins.my_plugin.MyPGConsumer",
        )

    def test_a_configuration_is_handed_back(self) -> None:
        """What was loaded once is not loaded again."""
        configuration = load({"orders": ORDERS}, {})

        assert load(configuration) is configuration

    def test_settings_objects_are_taken_as_they_are(self) -> None:
        """A section may be a settings object."""
        assert load({"queues": {"a": {}}, "engine": EngineSettings(concurrency=2)}, {}).engine.concurrency == 2

    def test_a_queue_named_like_a_section_is_a_queue(self) -> None:
        """Without `queues` every key is a queue's name."""
        assert list(load({"engine": {"profile": "acme"}}, {}).queues) == ["engine"]

    def test_empty_sections_are_defaults(self, tmp_path: Path) -> None:
        """`engine:` with nothing below it, and a queue with nothing below it, are not errors of form."""
        configuration = load(written(tmp_path, "queues:\n  a:\nengine:\nworker: {}\n"))

        assert configuration.engine == EngineSettings()
        assert configuration.queues == {"a": QueueConfig(name="a")}


class TestTheUsersObjects:
    """Nothing that is handed in is ever changed."""

    @pytest.mark.parametrize("form", ["sections", "mapping", "list"])
    def test_python_data_is_left_alone(self, form: str) -> None:
        """Every mapping and list, to the innermost one, is as it was."""
        orders = {**ORDERS, "config": {"a": ["${X:-1}", {"b": "${Y:-2}"}]}}
        source: Any = {
            "sections": {"queues": {"orders": orders}, **REST},
            "mapping": {"orders": orders},
            "list": [{"name": "orders", **orders}],
        }[form]
        before = copy.deepcopy(source)

        configuration = load(source, {})

        assert source == before
        configuration.queues["orders"].config["a"].append("later")
        assert source == before

    def test_a_queue_config_is_left_alone(self) -> None:
        """Not even its options' lists are shared."""
        queue = QueueConfig(name="orders", config={"a": ["${X:-1}"]})
        before = queue.model_copy(deep=True)

        loaded = load([queue], {}).queues["orders"]
        loaded.config["a"].append("later")

        assert queue == before
        assert loaded.config == {"a": ["1", "later"]}


class TestPlaces:
    """Each key knows its line and column."""

    def test_of_yaml(self, tmp_path: Path) -> None:
        """Line and column of the key; of the nearest thing around it for what was not written."""
        locations = load(written(tmp_path, YAML), {}).locations
        name = str(tmp_path / "queues.yml")

        assert locations.of(("queues", "orders", "config", "retries")).exact == f"{name}:8:7"
        assert str(locations.of(("queues", "orders", "config", "retries"))) == f"{name}:8"
        assert locations.of(("queues", "orders", "profile")).exact == f"{name}:2:3"
        assert locations.of(("queues", "audit", "profile")).exact == f"{name}:9:11"
        assert locations.of(("engine", "retry", "max_attempts")).exact == f"{name}:12:11"

    def test_of_a_list_at_the_top(self, tmp_path: Path) -> None:
        """A queue in a list is found by its name."""
        locations = load(written(tmp_path, "- name: a\n- name: b\n  value: x\n"), {}).locations

        assert locations.of(("queues", "b", "value")).exact == f"{tmp_path / 'queues.yml'}:3:3"

    def test_of_toml(self, tmp_path: Path) -> None:
        """TOML tells no lines: the path in the file stands for them."""
        locations = load(written(tmp_path, TOML, "queues.toml"), {}).locations

        assert str(locations.of(("queues", "orders", "config"))) == f"{tmp_path / 'queues.toml'}, queues.orders.config"

    def test_of_python_data(self) -> None:
        """There is no file to show."""
        assert str(load({"orders": ORDERS}, {}).locations.of(("queues", "orders"))) == ""


class TestProblems:
    """All of them, at once, each with place and remedy."""

    def test_all_problems_of_a_file_come_together(self, tmp_path: Path) -> None:
        """Sections, queues, keys, types, names: one run shows everything, from top to bottom."""
        file = written(
            tmp_path,
            """\
queues:
- name: orders
  value: 12
  model_hander: pydantic
  batch: maybe
- name: orders
- nme: audit
- just text
- name: 7
engin:
  concurrency: 2
engine:
  max_inflight: 1
worker: 3
""",
        )

        assert refused(file) == [
            "queues.yml:10:1: 'engin' is not a section; did you mean 'engine'?",
            "queue 'orders' (queues.yml:3:3): 'value' must be text, not a number (put it in quotes if it is text)",
            "queue 'orders' (queues.yml:4:3): 'model_hander' is not a key of a queue; did you mean 'model_handler'?",
            "queue 'orders' (queues.yml:5:3): 'batch' must be true or false, not this text",
            "queue 'orders' (queues.yml:6:3): the name is given twice, first at queues.yml:2:3; rename or remove one",
            "queue number 3 (queues.yml:7:3): has no 'name'; did you mean that by 'nme'?",
            "queue number 4 (queues.yml:8:3): its settings must be a mapping with a 'name'",
            "queue number 5 (queues.yml:9:3): 'name' must be text; put it in quotes",
            "engine (queues.yml:13:3): 'max_inflight' is not a key of the engine; did you mean 'max_in_flight'?",
            "queues.yml:14:1: 'worker' must be a mapping",
        ]

    def test_toml_problems_name_the_path(self, tmp_path: Path) -> None:
        """Without lines, the path in the file says where."""
        assert refused(written(tmp_path, '[[queues]]\nname = "a"\nprofil = "b"\n', "queues.toml")) == [
            "queue 'a' (queues.toml, queues[0].profil): 'profil' is not a key of a queue; did you mean 'profile'?"
        ]

    def test_python_problems_name_the_queue(self) -> None:
        """Without a file, queue and key say where."""
        assert refused({"a": {"conifg": {}}, "b": [], 3: {}, "c": {4: 5}, "d": {"name": "e"}}) == [
            "queue 'a': 'conifg' is not a key of a queue; did you mean 'config'?",
            "queue 'b': its settings must be a mapping",
            "the configuration: a queue's name is text, not of type int",
            "queue 'c': a key is of type int; keys are text",
            "queue 'd': 'name' differs from the key that names the queue; leave it out",
        ]

    def test_a_name_given_twice_in_python(self) -> None:
        """Two queues of one name in a list are refused, also without lines."""
        assert refused([{"name": "a"}, QueueConfig(name="a")]) == [
            "queue 'a': the name is given twice; rename or remove one"
        ]

    def test_a_misspelt_section_is_suspected(self) -> None:
        """Without `queues`, a list under a like key is most likely the section."""
        assert refused({"queue": [{"name": "a"}]}) == [
            "queue 'queue': its settings must be a mapping; if the section 'queues' is meant, write 'queues'"
        ]

    def test_a_section_beside_bare_queues_is_suspected(self) -> None:
        """Without `queues` every key is a queue, also the one that was meant for something else."""
        assert refused({"queue": {"a": {"profile": "acme"}}, "engine": {"concurrency": 2}}) == [
            "queue 'queue': none of its keys is a queue's; if the section 'queues' is meant, write 'queues'",
            "queue 'engine': none of its keys is a queue's; "
            "if the section 'engine' is meant, put the queues under 'queues'",
        ]

    @pytest.mark.parametrize("source", [{}, [], {"queues": {}}, {"queues": None}])
    def test_no_queues(self, source: Any) -> None:
        """A configuration without queues can do nothing, and says what is missing."""
        assert refused(source) == ["the configuration: has no queues; name at least one under 'queues'"]

    @pytest.mark.parametrize("source", [{"queues": "orders"}, {"queues": 3}])
    def test_queues_of_another_shape(self, source: Any) -> None:
        """Queues are a mapping or a list."""
        assert refused(source) == [
            "the configuration: queues are a mapping from names to settings, or a list; this is neither"
        ]

    def test_a_text_instead_of_a_path(self) -> None:
        """YAML text where a path belongs is told apart from a file that is missing, and not repeated."""
        assert refused("queues:\n  a: {config: {password: hunter2}}\n") == [
            "the configuration was given as a text of several lines; give the path of a file, or a mapping"
        ]

    def test_read_gives_the_good_with_the_bad(self) -> None:
        """`penstock check` judges the good queues although others are bad."""
        configuration, problems = read({"queues": {"a": {"x": 1}, "b": {}}, "engine": {"y": 2}}, {})

        assert list(configuration.queues) == ["b"]
        assert configuration.engine == EngineSettings()
        assert len(problems) == 2


_DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("${X}") | st.just("${"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["queues", "engine", "worker", "name", "config", "batch", "retry", "metrics_port"])
            | st.text(max_size=3)
            | st.integers(),
            inner,
            max_size=3,
        )
    ),
    max_leaves=15,
)


@given(_DATA)
@settings(max_examples=500, deadline=None)
def test_no_data_crashes_the_loader(source: Any) -> None:
    """Whatever is handed in is a configuration or a `ConfigError`, never anything else."""
    if isinstance(source, str):
        return
    before = copy.deepcopy(source)

    with suppress(ConfigError):
        load(source, {})

    assert source == before


class TestVariables:
    """`${NAME}` in a file."""

    def test_are_filled_in_before_types_are_judged(self, tmp_path: Path) -> None:
        """Text from the environment becomes the number or the switch that the key wants."""
        file = written(
            tmp_path,
            "queues:\n  a: {batch: '${BATCH}', serializer: '${SERIALIZER:-none}', value: '${VALUE}'}\n"
            "engine: {concurrency: '${CONCURRENCY:-2}'}\n",
        )

        configuration = load(file, {"BATCH": "true", "VALUE": "12"})

        assert configuration.queues["a"] == QueueConfig(name="a", batch=True, serializer=None, value="12")
        assert configuration.queues["a"].given("serializer")
        assert configuration.engine.concurrency == 2

    def test_name_a_queue_in_a_list(self) -> None:
        """A name is a value where queues are a list, so it may come from the environment."""
        assert list(load([{"name": "${NAME}"}], {"NAME": "a"}).queues) == ["a"]
        assert refused([{"name": "${NAME}"}]) == [
            "queue number 1: 'name' needs the environment variable NAME, which is not set; "
            "set it, or write a default: ${NAME:-default}"
        ]

    def test_missing_in_a_section_are_problems_at_once(self, tmp_path: Path) -> None:
        """Every worker needs the sections, so a variable they miss stops every start."""
        file = written(tmp_path, "queues: {a: {}}\nengine: {concurrency: '${N}'}\nworker: {metrics_host: '${HOST}'}\n")

        assert refused(file) == [
            "engine (queues.yml:2:10): 'concurrency' needs the environment variable N, which is not set; "
            "set it, or write a default: ${N:-default}",
            "worker (queues.yml:3:10): 'metrics_host' needs the environment variable HOST, which is not set; "
            "set it, or write a default: ${HOST:-default}",
        ]

    def test_missing_in_a_queue_wait_until_the_queue_is_used(self) -> None:
        """Workers that share a file need not share every secret; the queue keeps what it misses."""
        configuration = load({"a": {"batch": "${BATCH}", "config": {"password": "${PASSWORD}"}}, "b": {}}, {})

        assert {name: len(faults) for name, faults in configuration.missing_variables.items()} == {
            "a": 2,
            "b": 0,
        }

    def test_broken_ones_are_problems_at_once(self, tmp_path: Path) -> None:
        """A mistyped reference is wrong in every environment."""
        assert refused(written(tmp_path, "a: {config: {password: 'hunter2${'}}\n")) == [
            "queue 'a' (queues.yml:1:14): 'config.password' has a '${' that is not a variable; "
            "write ${NAME} or ${NAME:-default}, or '$${' for a plain '${'"
        ]
