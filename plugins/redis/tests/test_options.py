"""What options are refused, with the line and the nearest key; what the environment fills in."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from penstock.cli.main import main
from penstock_redis.options import ListOptions, PubSubOptions, StreamOptions, check, check_channels


@pytest.mark.parametrize(
    ("connector", "typo", "meant"),
    [
        ("redis.streams", "gruop: x", "group"),
        ("redis.lists", "take_form: right", "take_from"),
        ("redis.pubsub", "pattern: true", "patterns"),
    ],
)
def test_a_typo_is_shown_with_its_line_and_the_nearest_key(
    connector: str, typo: str, meant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By `penstock check`, before anything is connected."""
    file = tmp_path / "queues.yml"
    file.write_text(f"queues:\n  - name: q\n    connector: {connector}\n    config:\n      host: h\n      {typo}\n")

    assert main(["check", str(file)]) != 0
    said = "".join(capsys.readouterr())
    assert "queues.yml:6" in said
    assert repr(meant) in said


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (StreamOptions, {"start": "now"}),
        (StreamOptions, {"lease": 0}),
        (StreamOptions, {"max_length": -1}),
        (StreamOptions, {"max_bytes": 2**30}),
        (StreamOptions, {"port": 70_000}),
        (StreamOptions, {"host": "redis://h"}),
        (StreamOptions, {"host": "h", "url": "redis://h"}),
        (StreamOptions, {"url": "http://h"}),
        (StreamOptions, {"url": "redis://:p[w@h"}),
        (ListOptions, {"take_from": "top"}),
        (PubSubOptions, {"buffer": 0}),
    ],
)
def test_a_value_out_of_range_is_refused(model: type[StreamOptions], values: dict[str, object]) -> None:
    """Each without its value in the text, which may be a secret."""
    where = {} if values.keys() & {"host", "url"} else {"host": "h"}

    with pytest.raises(ValidationError) as refused:
        model(**{**where, **values})

    assert "p[w" not in str(refused.value)


def test_no_server_is_an_error_that_names_the_variables() -> None:
    """Host or URL."""
    with pytest.raises(ValidationError, match="REDIS_HOST"):
        StreamOptions()


def test_the_config_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one says the host and the other one the URL."""
    monkeypatch.setenv("REDIS_HOST", "ambient")
    monkeypatch.setenv("REDIS_URL", "redis://ambient")

    assert StreamOptions(host="ambient", url="redis://mine:1/0").address == "mine:1"
    assert StreamOptions(host="mine", url="redis://ambient").address == "mine:6379"


def test_no_secret_is_in_an_address() -> None:
    """It is shown in each error."""
    assert StreamOptions(url="rediss://user:s3cr3t@h:1/2").address == "h:1"
    assert "s3cr3t" not in repr(StreamOptions(host="h", password="s3cr3t"))


def test_what_types_cannot_say_is_checked() -> None:
    """TLS beside a plain URL, which would be no TLS; several channels, or a pattern, of an output."""
    assert "rediss" in check("q", StreamOptions(url="redis://h", tls=True), "input")[0]
    assert check("q", StreamOptions(url="rediss://h", tls=True), "input") == []
    assert check_channels("a, b", PubSubOptions(host="h"), "input") == []
    assert "several" in check_channels("a, b", PubSubOptions(host="h"), "output")[0]
    assert "pattern" in check_channels("a.*", PubSubOptions(host="h", patterns=True), "output")[0]
    assert "no channel" in check_channels(" , ", PubSubOptions(host="h"), "input")[0]


def test_tools_have_a_group_of_their_own() -> None:
    """What `penstock dead-letters` settles is not settled for the workers."""
    tools = StreamOptions(host="h", group="mine", consumer="me", start="$").for_tools()

    assert (tools.group, tools.consumer, tools.start) == ("penstock-tools", None, "0")
