"""What stands under `config:`, and what the client gets of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from penstock.config.files import read
from penstock.config.resolve import problems_of
from penstock.errors import ConfigError
from penstock.options import OptionProblem, fill_from_environment
from penstock_kafka.check import _instead, check
from penstock_kafka.known_keys import BOTH, CONSUMER, FRACTION, PRODUCER, TEXT, WHOLE, WHOLE_OR_ALL
from penstock_kafka.options import KafkaOptions, topics, wrong_key

NEEDED = {"bootstrap.servers": "host:9092", "group.id": "group"}


def options(**more: Any) -> KafkaOptions:
    """Options with all that is needed."""
    return KafkaOptions(**{**NEEDED, **more})


def from_environment(role: Any, environment: dict[str, str], **values: Any) -> KafkaOptions:
    """Options as the configuration makes them."""
    filled, _ = fill_from_environment(KafkaOptions, values, role, environment)
    return KafkaOptions(**filled)


def test_the_environment_names_brokers_group_and_credentials() -> None:
    """The variables of the reference fill what the config leaves out."""
    found = from_environment(
        "input",
        {"KAFKA_BROKERS": "b:1", "KAFKA_CONSUMER_GROUP": "g", "KAFKA_KEY": "user", "KAFKA_SECRET": "hunter2"},
    )

    settings = found.client_settings("input")

    expected = {"bootstrap.servers": "b:1", "group.id": "g", "sasl.username": "user", "sasl.password": "hunter2"}
    assert expected.items() <= settings.items()
    assert (settings["security.protocol"], settings["sasl.mechanism"]) == ("SASL_SSL", "PLAIN")


@pytest.mark.parametrize(("role", "expected"), [("input", "in:1"), ("output", "out:1")])
def test_brokers_of_one_direction_come_before_those_of_both(role: Any, expected: str) -> None:
    """A consumer and a producer may talk to different clusters."""
    environment = {"KAFKA_BROKERS": "b:1", "KAFKA_CONSUMER_BROKERS": "in:1", "KAFKA_PRODUCER_BROKERS": "out:1"}

    assert from_environment(role, environment).bootstrap_servers == expected
    assert from_environment(role, {"KAFKA_BROKERS": "b:1"}).bootstrap_servers == "b:1"


def test_the_config_beats_the_environment() -> None:
    """What is written wins."""
    environment = {"KAFKA_BROKERS": "b:1", "KAFKA_CONSUMER_GROUP": "g"}

    found = from_environment("input", environment, **NEEDED)

    assert (found.bootstrap_servers, found.group_id) == ("host:9092", "group")


def test_credentials_do_not_override_how_they_are_used() -> None:
    """A mechanism or a protocol that is written stays."""
    found = options(
        **{"sasl.username": "u", "sasl.password": "p", "security.protocol": "SASL_PLAINTEXT", "sasl.mechanisms": "X"}
    )

    settings = found.client_settings("output")

    assert settings["security.protocol"] == "SASL_PLAINTEXT"
    assert "sasl.mechanism" not in settings


def test_missing_brokers_and_group_are_named_with_key_and_variable() -> None:
    """An input needs both, an output only brokers; all is said at once."""
    nothing = KafkaOptions()

    brokers, group = nothing.problems("input")

    assert "bootstrap.servers" in brokers
    assert "KAFKA_BROKERS" in brokers
    assert "group.id" in group
    assert "KAFKA_CONSUMER_GROUP" in group
    assert len(nothing.problems("output")) == 1
    with pytest.raises(ConfigError) as caught:
        nothing.client_settings("input")
    assert list(caught.value.problems) == [brokers, group]


def test_half_of_the_credentials_is_named() -> None:
    """A user without a password is a mistake, not an anonymous connection."""
    assert "KAFKA_SECRET" in options(**{"sasl.username": "u"}).problems("input")[0]
    assert "KAFKA_KEY" in options(**{"sasl.password": "p"}).problems("output")[0]


def test_credentials_inside_an_address_are_refused_and_not_repeated() -> None:
    """The client would take them for a host's name and print them."""
    found = options(**{"bootstrap.servers": "user:hunter2@host:9092"})

    problem = found.problems("output")[0]

    assert "sasl.username" in problem
    assert "hunter2" not in problem + found.brokers


def test_the_defaults_lose_nothing() -> None:
    """From the first offset on, nothing committed by the client, everything confirmed by all replicas."""
    consumer, producer = options().client_settings("input"), options().client_settings("output")

    assert consumer["auto.offset.reset"] == "earliest"
    assert consumer["enable.auto.commit"] == consumer["enable.auto.offset.store"] == "false"
    assert consumer["partition.assignment.strategy"] == "cooperative-sticky"
    assert producer["enable.idempotence"] == "true"
    assert consumer["allow.auto.create.topics"] == producer["allow.auto.create.topics"] == "false"


def test_every_default_can_be_overridden() -> None:
    """A key of librdkafka's passes through, as text, whatever YAML made of it."""
    found = options(
        **{
            "auto.offset.reset": "latest",
            "fetch.wait.max.ms": 20,
            "check.crcs": False,
            "linger.ms": 0.5,
            "session.timeout.ms": 6000.0,
        }
    )

    settings = found.client_settings("input")

    assert settings["auto.offset.reset"] == "latest"
    assert settings["fetch.wait.max.ms"] == "20"
    assert settings["check.crcs"] == "false"
    assert settings["linger.ms"] == "0.5"
    assert settings["session.timeout.ms"] == "6000"


@pytest.mark.parametrize("key", ["enable.auto.commit", "enable.auto.offset.store"])
def test_what_would_lose_messages_cannot_be_turned_on(key: str) -> None:
    """It says why; written as false it is accepted, and an output does not care."""
    for value in (True, "true", 1):
        problem = options(**{key: value}).problems("input")[0]
        assert key in problem
        assert "lose" in problem
    for value in (False, "false"):
        assert options(**{key: value}).problems("input") == []
    assert options(**{key: False}).client_settings("input")[key] == "false"


@pytest.mark.parametrize(
    ("key", "value", "instead"),
    [
        ("stop_on_failure", True, "dead_letter_queue"),
        ("batch_size", 5, "batch: true"),
        ("batch_time_seconds", 2, "batch: true"),
        ("metadata.broker.list", "b:1", "bootstrap.servers"),
        ("enable.partition.eof", False, "needs it"),
        ("transactional.id", "x", "no transactions"),
        ("on_commit", print, "listens to it itself"),
    ],
)
def test_a_key_that_is_not_taken_says_what_to_do_instead(key: str, value: Any, instead: str) -> None:
    """Keys of the reference, and of the client, that the connector serves in another way."""
    problem = options(**{key: value}).problems("input")[0]

    assert repr(key) in problem
    assert instead in problem


@pytest.mark.parametrize("value", [None, {"a": 1}, ["a"], print])
def test_a_value_that_no_client_understands_is_refused(value: Any) -> None:
    """librdkafka takes texts; the type is named, the value is not."""
    problem = options(**{"client.rack": value}).problems("input")[0]

    assert "'client.rack'" in problem


def test_a_callback_for_tokens_reaches_the_client() -> None:
    """A configuration in Python may bring functions that the connector does not use itself."""
    settings = options(oauth_cb=print).client_settings("input")

    assert settings["oauth_cb"] is print
    assert options(oauth_cb="x").problems("input")


def test_keys_of_one_direction_reach_only_that() -> None:
    """A queue that one program reads and another writes has both in one place."""
    both = options(consumer={"auto.offset.reset": "latest"}, producer={"linger.ms": 50})

    assert both.client_settings("input")["auto.offset.reset"] == "latest"
    assert "linger.ms" not in both.client_settings("input")
    assert both.client_settings("output")["linger.ms"] == "50"
    assert "group.id" not in both.client_settings("output")
    misplaced = options(consumer={"group.id": "x"}).problems("input")
    assert "beside 'consumer'" in misplaced[0]


def test_the_new_group_protocol_needs_no_strategy() -> None:
    """With KIP-848 the broker assigns, and the client refuses the key."""
    settings = options(**{"group.protocol": "consumer"}).client_settings("input")

    assert "partition.assignment.strategy" not in settings
    assert options(**{"group.protocol": "consumer"}).cooperative()
    assert options().cooperative()
    assert not options(**{"partition.assignment.strategy": "range"}).cooperative()


def test_yaml_may_write_addresses_as_a_list() -> None:
    """People mean text."""
    found = options(**{"bootstrap.servers": ["a:1", "b:2"]})

    assert found.bootstrap_servers == "a:1,b:2"


@pytest.mark.parametrize("written", ["0123456", "12:30", "1.10", "no", "2024-05-17", "1_000", "0x1F", "null", "123"])
@pytest.mark.parametrize(
    "key",
    [
        "sasl.password",
        "sasl.username",
        "group.id",
        "client.id",
        "client.rack",
        "ssl.key.password",
        "consumer.client.rack",
    ],
)
def test_what_yaml_makes_of_a_text_is_refused(key: str, written: str, tmp_path: Path) -> None:
    """A password of digits would be another number, and `penstock check` would find nothing."""
    inside, _, name = key.rpartition("consumer.")
    keys = {"group.id": "g", "sasl.username": "u", "sasl.password": "p", name: None}
    if key in ("sasl.password", "sasl.username", "group.id") and written == "null":
        pytest.skip("null says that the key is not set")
    lines = [f"{each}: {written if value is None else value}" for each, value in keys.items()]
    if inside:
        lines[-1] = f"consumer: {{{lines[-1]}}}"
    file = tmp_path / "queues.yml"
    file.write_text(
        "queues:\n  q:\n    connector: kafka\n    config:\n      bootstrap.servers: localhost:1\n"
        + "".join(f"      {line}\n" for line in lines)
    )

    found = problems(file)

    assert len(found) == 1
    assert name in found[0]
    assert "quotes" in found[0] or written == "null"
    assert "42798" not in found[0]
    file.write_text(file.read_text().replace(f"{name}: {written}", f"{name}: '{written}'"))
    assert [each for each in problems(file) if "text" in each or "quotes" in each] == []


def problems(file: Path) -> list[str]:
    """What `penstock check` says of the queue as an input."""
    configuration, found = read(str(file), {})
    return [str(each) for each in problems_of(configuration, found, [("q", "input")])]


def test_a_number_where_the_client_wants_one_stays() -> None:
    """And true and false where it wants these."""
    found = options(**{"fetch.wait.max.ms": 20, "check.crcs": False, "linger.ms": 0.5})

    assert found.problems("input") == []


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("session.timeout.ms", "45s", "a whole number of milliseconds; write the number alone, without a unit"),
        ("session.timeout.ms", 45.5, "a whole number of milliseconds"),
        ("session.timeout.ms", True, "a whole number of milliseconds"),
        ("session.timeout.ms", "45_000", "a whole number of milliseconds"),
        ("session.timeout.ms", "45,000", "a whole number of milliseconds"),
        ("session.timeout.ms", "0x10", "a whole number of milliseconds"),
        ("max.poll.interval.ms", "5 minutes", "a whole number of milliseconds"),
        ("fetch.max.bytes", "50MB", "a whole number of bytes"),
        ("queued.max.messages.kbytes", "16MiB", "a whole number of kilobytes"),
        ("message.max.bytes", "1e6", "a whole number of bytes"),
        ("socket.max.fails", "3 times", "a whole number;"),
    ],
)
def test_a_number_is_understood_whole_or_refused(key: str, value: object, said: str) -> None:
    """librdkafka reads 45 milliseconds from "45s"."""
    (problem,) = options(**{"bootstrap.servers": "h:1", "group.id": "g", key: value}).problems("input")

    assert problem.startswith(f"{key!r} must be {said}")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("session.timeout.ms", "45000"),
        ("session.timeout.ms", 45000.0),
        ("fetch.wait.max.ms", " 20 "),
        ("retries", "-1"),
    ],
)
def test_numbers_that_are_understood(key: str, value: object) -> None:
    """As text, too: a variable of the environment is always text."""
    assert options(**{key: value, "bootstrap.servers": "h:1", "group.id": "g"}).problems("input") == []


@pytest.mark.parametrize(("key", "value"), [("acks", "all"), ("acks", -1), ("linger.ms", "0.5"), ("linger.ms", 5)])
def test_the_numbers_of_an_output_that_are_understood(key: str, value: object) -> None:
    """One of them may be a word, and one may have a decimal point."""
    assert options(**{"bootstrap.servers": "h:1", key: value}).problems("output") == []
    assert options(**{"bootstrap.servers": "h:1", key: "5s"}).problems("output") != []


def test_secrets_are_never_shown() -> None:
    """Neither typed nor passed through, neither by repr nor by a refusal."""
    found = options(
        **{
            "sasl.username": "u",
            "sasl.password": "hunter2",
            "ssl.key.password": "hunter2",
            "sasl.oauthbearer.client.secret": SecretStr("hunter2"),
            "consumer": {"ssl.keystore.password": "hunter2"},
        }
    )

    assert "hunter2" not in repr(found)
    assert "hunter2" not in str(found)
    assert found.client_settings("input")["sasl.oauthbearer.client.secret"] == "hunter2"
    assert found.client_settings("input")["ssl.keystore.password"] == "hunter2"
    with pytest.raises(ValidationError) as caught:
        KafkaOptions(**{"sasl.password": ["hunter2", 1]})
    assert "hunter2" not in str(caught.value)


def test_a_wait_for_settlements_stays_below_what_the_group_allows() -> None:
    """A worker that waited longer than max.poll.interval.ms would be thrown out while it waits."""
    assert options(revoke_timeout=30).revoke_wait() == 30
    assert options(revoke_timeout=30, **{"max.poll.interval.ms": 8000}).revoke_wait() == 4


def test_a_value_names_topics() -> None:
    """Commas separate, a `^` begins a pattern; an output has exactly one."""
    assert topics("a, b", "input") == ["a", "b"]
    assert topics("^a.*", "input") == ["^a.*"]
    assert topics("a", "output") == ["a"]
    for name, role in (("a,,b", "input"), ("", "input"), ("a,b", "output"), ("^a", "output")):
        with pytest.raises(ConfigError):
            topics(name, role)  # type: ignore[arg-type]


def test_the_client_library_is_not_imported_by_plugin_and_options() -> None:
    """`penstock plugins` and `penstock schema` work without it."""
    code = "import sys, penstock_kafka.plugin, penstock_kafka.options; sys.exit('confluent_kafka' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("role", ["input", "output"])
def test_the_defaults_please_the_client(role: Any) -> None:
    """An option that was not set is not a problem."""
    assert check("topic", options(), role) == []


def test_the_client_judges_every_key_by_the_users_name_for_it() -> None:
    """Misspelt keys with what was meant, bad values, and keys that it would only ignore: all at once."""
    problems = check(
        "topic",
        options(
            **{
                "auto.ofset.reset": "earliest",
                "fetch.wait.max.ms": "soon",
                "session.timeout.ms": 99_999_999,
                "linger.ms": 5,
                "stop_on_failure": True,
                "max_uncommited": 5,
            }
        ),
        "input",
    )

    text = "\n".join(problems)
    assert len(problems) == 6
    assert "'auto.ofset.reset' is neither a key" in text
    assert "did you mean 'auto.offset.reset'?" in text
    assert "'fetch.wait.max.ms': Invalid value" in text
    assert "'session.timeout.ms': value 99999999 is outside allowed range" in text
    assert "'linger.ms' is a producer's key" in text
    assert "'producer:'" in text
    assert "did you mean 'max_uncommitted'?" in text


def test_an_alias_is_refused_by_the_name_that_was_written() -> None:
    """The client calls compression.type compression.codec; the user does not."""
    problems = check("topic", options(**{"compression.type": "lz5"}), "output")

    assert problems == ["'compression.type': Invalid value \"lz5\""]


def test_keys_that_do_not_go_together_are_refused() -> None:
    """Each is right by itself, so the client's own words say what is wrong with them together."""
    problems = check("topic", options(acks=1), "output")

    assert len(problems) == 1
    assert "`acks` must be set to `all`" in problems[0]


def test_a_refused_secret_is_not_repeated() -> None:
    """The client quotes bad values; those of secret keys it must not."""
    problems = check(
        "topic", options(**{"sasl.oauthbearer.client.secrets": "hunter2", "debug.token": "hunter2"}), "input"
    )

    assert len(problems) == 2
    assert "hunter2" not in " ".join(problems)


def test_a_check_never_calls_the_users_functions() -> None:
    """Judging options must not fetch a token."""

    def fetch(_: str) -> tuple[str, float]:
        raise AssertionError("called")

    oauth = {"sasl.mechanism": "OAUTHBEARER", "security.protocol": "SASL_SSL", "oauth_cb": fetch}

    assert check("topic", options(**oauth), "input") == []


def test_the_topic_is_checked_too() -> None:
    """Where it can be judged without a broker."""
    assert "one topic" in check("a,b", options(), "output")[0]


def test_every_number_that_the_client_would_cut_is_known() -> None:
    """The client takes "1234s" for a key that is a number, and for a text; it rejects it for every other key."""
    from confluent_kafka import Consumer, KafkaException, Producer

    def taken(key: str) -> bool:
        try:
            Producer({key: "1234s"}) if key in PRODUCER else Consumer({"group.id": "g", key: "1234s"})
        except (KafkaException, TypeError) as error:
            return not any(words in str(error) for words in ("Expected bool", "nvalid value", "bool type", "No such"))
        return True

    texts = TEXT | {"metadata.broker.list", "share.acknowledgement.mode", "log.queue"}
    cut = {key for key in BOTH | CONSUMER | PRODUCER if key not in texts and taken(key)}

    assert cut == WHOLE | FRACTION | WHOLE_OR_ALL


def test_a_key_of_the_other_role_is_passed_over_by_a_tool() -> None:
    """`--feed` writes to a queue whose options are those of its consumer."""
    (problem,) = check("t", options(**{"bootstrap.servers": "h:1", "session.timeout.ms": 45_000}), "output")

    assert isinstance(problem, OptionProblem)
    assert problem.other_role


def test_the_known_keys_are_those_of_the_client() -> None:
    """The list that suggestions come from has no name that the client does not know."""
    from confluent_kafka import Consumer, KafkaException, libversion

    if libversion()[1] < 0x02100000:
        pytest.skip("the list is of librdkafka 2.16; an older one lacks some")
    for key in sorted(BOTH | CONSUMER | PRODUCER):
        with pytest.raises(KafkaException) as caught:
            # The second key is unknown, so that no client is made even if the first one takes any value.
            Consumer({"group.id": "g", key: "no such value", "no.such.key": ""})
        assert f'No such configuration property: "{key}"' not in str(caught.value)


@pytest.mark.parametrize("role", ["input", "output"])
def test_every_key_that_is_suggested_is_accepted_when_it_is_written(role: Any) -> None:
    """A misspelling of each key of the client, followed where the hint leads."""
    suggested: dict[str, str] = {}
    for key in sorted(BOTH | CONSUMER | PRODUCER):
        hint = _instead(key[:-2] + key[-1], role)
        if hint != "remove it":
            _, name, rest = hint.split("'", 2)
            suggested[name] = rest

    assert len(suggested) > 100
    other_role = (PRODUCER if role == "input" else CONSUMER) - {"group.id"}
    for name, rest in suggested.items():
        value = 10_000 if name in WHOLE | FRACTION | WHOLE_OR_ALL else "x"
        assert wrong_key(name, value, role) is None
        assert (name in other_role) == ("under '" in rest)
