"""Names and options judged without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.cli.main import main
from penstock_gcp.options import PubSubOptions, check


@pytest.mark.parametrize(
    ("name", "role", "said"),
    [
        ("no", "input", "is not a name in Pub/Sub"),
        ("google-orders", "output", "is not a name in Pub/Sub"),
        ("orders", "input", "says no project"),
        ("projects/p/subscriptions/orders", "output", "is not the name of a topic"),
    ],
)
def test_a_name_that_pubsub_would_refuse_is_found_before(
    name: str, role: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one sentence."""
    [problem] = check(name, PubSubOptions(), role)  # type: ignore[arg-type]
    assert said in problem


def test_names_are_completed() -> None:
    """A subscription is called like its topic, in the topic's project."""
    options = PubSubOptions(project="p")
    assert options.topic_path("orders") == "projects/p/topics/orders"
    assert options.subscription_path("orders") == "projects/p/subscriptions/orders"
    assert options.subscription_path("projects/q/topics/orders") == "projects/q/subscriptions/orders"
    assert PubSubOptions(subscription="mine").subscription_path("projects/q/topics/orders") == (
        "projects/q/subscriptions/mine"
    )
    assert not check("projects/q/subscriptions/orders", PubSubOptions(), "input")


def test_a_typo_is_shown_with_its_line_and_the_nearest_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As in every connector."""
    (tmp_path / "queues.yml").write_text(
        "queues:\n  orders:\n    connector: pubsub\n    config:\n      project: p\n      ack_dedline: 9\n"
    )
    assert main(["check", str(tmp_path / "queues.yml")]) == 2
    said = "".join(capsys.readouterr())
    assert "queues.yml:6" in said
    assert "did you mean 'ack_deadline'" in said
