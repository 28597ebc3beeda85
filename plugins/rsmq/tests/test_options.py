"""Options of the connector `rsmq`: where they come from, what is rejected, and that secrets stay secret."""

from __future__ import annotations

import os
from typing import Any

import pytest
from pydantic import ValidationError

from penstock.options import fill_from_environment
from penstock_rsmq.check import check
from penstock_rsmq.options import RsmqOptions

SECRET = "s3cr3t-word"


def made(values: dict[str, Any], **environment: str) -> RsmqOptions:
    """Options as start-up makes them: the config's values, then the environment's, then the model."""
    filled, _origins = fill_from_environment(RsmqOptions, values, "input", environment)
    return RsmqOptions.model_validate(filled)


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        RsmqOptions.model_validate(values)
    return str(caught.value)


def test_defaults_are_those_of_the_reference() -> None:
    """A host is enough; a message is hidden for 60 s, in the namespace rsmq, and a missing queue is created."""
    options = made({"host": "redis.example"})

    assert (options.port, options.db, options.ns, options.vt, options.create) == (6379, 0, "rsmq", 60.0, True)
    assert options.address == "redis.example:6379"


def test_a_missing_host_is_told_with_its_two_remedies() -> None:
    """Without any server the error names REDIS_HOST and the config's key."""
    text = refusal({})

    assert "REDIS_HOST" in text
    assert "config: {host: …}" in text


def test_the_environment_fills_what_the_config_leaves_open() -> None:
    """REDIS_HOST, REDIS_PORT and REDIS_PASSWORD are read; the config's own values win."""
    options = made({"port": 7000}, REDIS_HOST="h", REDIS_PORT="6000", REDIS_PASSWORD=SECRET)

    assert options.address == "h:7000"
    assert options.client_arguments()["password"] == SECRET


def test_redis_url_names_the_server() -> None:
    """REDIS_URL alone is enough, and TLS follows from its scheme."""
    options = made({}, REDIS_URL=f"rediss://user:{SECRET}@db.example:6380/3")

    assert options.address == "db.example:6380"
    assert options.client_arguments()["ssl_cert_reqs"] == "required"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"host": "from-config"}, "from-config:6379"),
        ({"url": "redis://from-config:1/0"}, "from-config:1"),
        ({}, "url-from-env:2"),
    ],
    ids=["host in the config", "url in the config", "both in the environment"],
)
def test_the_config_names_the_server_whatever_the_environment_adds(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], expected: str
) -> None:
    """An ambient REDIS_URL never redirects a queue whose config names a host, nor the other way round."""
    monkeypatch.setenv("REDIS_URL", "redis://url-from-env:2/0")
    monkeypatch.setenv("REDIS_HOST", "host-from-env")

    assert made(values, **os.environ).address == expected


def test_host_and_url_together_are_rejected() -> None:
    """Two answers to where the server is are one too many."""
    assert "keep one" in refusal({"host": "a", "url": "redis://b"})


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"options": {"decode_responses": True}}, "decode_responses"),
        ({"options": {"retry_on_timeout": True}}, "retry_on_timeout"),
        ({"exceptions": False}, "drop the key"),
        ({"encode": True}, "serializer"),
        ({"maxsize": 100}, "1024"),
        ({"ns": "app:"}, "'app'"),
        ({"vt": 0}, "greater than 0"),
        ({"hots": "x"}, "hots"),
        ({"url": "http://x", "host": None}, "redis://"),
        ({"url": "redis://", "host": None}, "no host"),
    ],
)
def test_what_cannot_work_is_rejected_with_a_sentence(values: dict[str, Any], word: str) -> None:
    """Options of py-volley and PyRSMQ that would change what is promised here, and plain mistakes."""
    assert word in refusal({"host": "h"} | values)


def test_harmless_options_of_the_reference_are_accepted() -> None:
    """A config written for py-volley works unchanged."""
    reference = {"host": "h", "port": 6379, "vt": 60, "delay": 0, "options": {"decode_responses": False}}

    assert made(reference | {"exceptions": True, "quiet": True, "encode": False}).delay == 0


@pytest.mark.parametrize(
    "values",
    [
        {"host": "h", "password": SECRET},
        {"url": f"redis://user:{SECRET}@h/0"},
    ],
)
def test_no_secret_shows_in_a_repr(values: dict[str, Any]) -> None:
    """Neither repr, nor str, nor a dump, nor the address has the password."""
    options = RsmqOptions.model_validate(values)

    assert SECRET not in f"{options!r} {options} {options.model_dump()} {options.model_dump_json()} {options.address}"


@pytest.mark.parametrize("url", [f"redis://user:{SECRET}/x@h:1", f"http://:{SECRET}@h", f"redis://:{SECRET}@"])
def test_no_secret_shows_in_a_refusal(url: str) -> None:
    """A rejected URL is not quoted, not even by the parser's error behind ours."""
    with pytest.raises(ValidationError) as caught:
        RsmqOptions.model_validate({"url": url})

    shown = str(caught.value) + str(caught.value.errors(include_input=False, include_url=False))
    assert SECRET not in shown


def test_tls_verifies_unless_told_not_to() -> None:
    """`tls: true` checks certificate and host name; only insecure_skip_verify turns that off."""
    strict = made({"host": "h", "tls": True}).client_arguments()
    lax = made({"host": "h", "tls": {"insecure_skip_verify": True}}).client_arguments()

    assert (strict["ssl"], strict["ssl_cert_reqs"], strict["ssl_check_hostname"]) == (True, "required", True)
    assert (lax["ssl"], lax["ssl_cert_reqs"], lax["ssl_check_hostname"]) == (True, "none", False)


@pytest.mark.parametrize("name", ["", "a:b", "a b", "x" * 65])
def test_a_queue_name_that_rsmq_cannot_have_is_a_problem(name: str) -> None:
    """PyRSMQ would answer False and no reason; here the check gives one."""
    assert len(check(name, made({"host": "h"}), "input")) == 1


def test_a_queue_name_of_the_reference_is_fine() -> None:
    """Dots are allowed, as in the reference's intro."""
    assert check("my.redis.output.queue.name", made({"host": "h"}), "output") == []


def test_tls_files_that_cannot_be_read_are_problems() -> None:
    """All of them are reported before anything connects."""
    options = made({"host": "h", "tls": {"ca": "/nowhere/ca.pem", "key": "/nowhere/key.pem"}})

    problems = check("q", options, "input")
    assert [problem.split(":")[0] for problem in problems[:2]] == ["tls.ca", "tls.key"]
    assert "tls.cert" in problems[2]


@pytest.mark.parametrize("host", ["redis://user:hunter2@host:6379/0", "user:hunter2@host", "rediss://host", "host/0"])
def test_a_url_under_host_is_rejected_and_not_shown(host: str) -> None:
    """It would be taken for a name, and printed whenever the server is away."""
    with pytest.raises(ValidationError, match="write a URL under 'url'") as raised:
        RsmqOptions(host=host)

    assert "hunter2" not in str(raised.value)
