"""What the distribution offers, and that offering it costs no import of a client library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from penstock.cli.main import main
from penstock.connectors import Consumer, Producer
from penstock_http import plugin
from penstock_http.poll import PollConsumer
from penstock_http.webhook import WebhookProducer


def test_each_connector_has_one_direction() -> None:
    """A feed cannot be written, and a webhook not be read."""
    poll, webhook = plugin.penstock_connectors()

    assert (poll.name, poll.producer, webhook.name, webhook.consumer) == ("http.poll", None, "http.webhook", None)
    assert issubclass(PollConsumer, Consumer)
    assert issubclass(WebhookProducer, Producer)


def test_listing_and_options_import_no_client_library() -> None:
    """`penstock plugins` and `penstock check` must not pay for aiohttp."""
    code = (
        "import sys, penstock_http.plugin as p, penstock_http.options, penstock_http.check;"
        "p.penstock_connectors(); p.penstock_profiles();"
        "print(sorted({'aiohttp', 'yarl', 'ssl'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "[]"


CONFIG = """\
queues:
  - name: events
    connector: http.poll
    value: https://api.example.com/events
    config:
      intervall: 30
  - name: hooks
    connector: http.webhook
    value: https://api.example.com/hooks
    config:
      signing_secrets: s3cr3t-s3cr3t
"""


def test_a_misspelt_option_is_told_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And with the key that was meant, and without its value."""
    path = tmp_path / "queues.yml"
    path.write_text(CONFIG)

    assert main(["check", str(path)]) != 0
    said = capsys.readouterr()
    text = said.out + said.err
    assert "queues.yml:6" in text
    assert "'interval'" in text
    assert "queues.yml:11" in text
    assert "'signing_secret'" in text
    assert "s3cr3t" not in text


@pytest.mark.parametrize(
    ("queue", "text"),
    [
        ("{connector: http.poll, value: 'htps://x/'}", "begins with http:// or https://"),
        ("{connector: http.poll, value: 'http://u:s3cr3t@x/'}", "must not hold a password"),
        ("{connector: http.webhook, value: 'http://x/', config: {signing_secret: 'whsec_s3cr3t!'}}", "signing_secret"),
        ("{connector: http.webhook, value: 'http://x/', config: {urls_from_records: true}}", "keep one"),
        ("{connector: http.webhook, config: {urls_from_records: true, token: s3cr3t}}", "every host"),
        ("{connector: http.webhook, value: 'http://x/', config: {headers: {'A b': s3cr3t}}}", "name of a header"),
        ("{connector: http.webhook, value: 'http://x/', config: {headers: {A: \"s3cr3t\\nB: c\"}}}", "line break"),
        ("{connector: http.poll, value: 'http://x/', config: {token: s3cr3t, username: u, password: p}}", "keep one"),
        ("{connector: http.poll, value: 'http://x/', config: {username: u}}", "belong together"),
        ("{connector: http.poll, value: 'http://x/', config: {tls: {ca: /no/file}}}", "tls.ca"),
        ("{connector: http.poll, value: 'http://x/', config: {item_id: /id}}", "need `items`"),
        ("{connector: http.poll, value: 'http://x/', config: {cursor: {from: body}}}", "needs `pointer` and `param`"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_opened(
    queue: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In words that name the option, and no secret."""
    path = tmp_path / "queues.yml"
    path.write_text(f"queues:\n  q: {queue}\n")

    assert main(["check", str(path)]) != 0
    said = capsys.readouterr()
    assert text in said.out + said.err
    assert "s3cr3t" not in said.out + said.err
