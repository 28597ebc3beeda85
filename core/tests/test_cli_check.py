"""`penstock check`: every problem with its place, or the configuration as it is understood."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from core.tests import acme

from penstock.cli.main import main


@pytest.fixture(autouse=True)
def _acme(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # The command puts the working folder there.
    monkeypatch.setattr(sys, "path", list(sys.path))
    acme.install(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)


class Check:
    """Runs `penstock check` on a text."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys

    def __call__(self, text: str, *arguments: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        (self.folder / "queues.yml").write_text(text)
        code = main(["check", "queues.yml", "--all", *arguments])
        captured = self.capsys.readouterr()
        return code, captured.out, captured.err


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """`penstock check` in a folder of its own."""
    return Check(tmp_path, capsys)


def rows(text: str) -> dict[str, list[str]]:
    """The printed table: key → value and origin."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().split("  ") if cell.strip()]
        if len(cells) == 3:
            found.setdefault(cells[0], cells[1:])
    return found


def test_a_good_configuration_is_printed_with_the_origin_of_each_value(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File and line, profile, environment, default."""
    monkeypatch.setenv("ACME_HOST", "example.org")
    monkeypatch.setenv("TABLE", "orders_v1")

    code, out, err = check("queues:\n  orders:\n    profile: acme\n    value: ${TABLE}\nengine:\n  concurrency: 3\n")

    assert (code, err) == (0, "")
    assert out.startswith("queues.yml: 1 queue, no problems\n\nqueue orders\n")
    printed = rows(out)
    assert printed["value"] == ["orders_v1", "queues.yml:4, environment TABLE"]
    assert printed["profile"] == ["acme", "queues.yml:3"]
    assert printed["connector"] == ["acme", "profile acme"]
    assert printed["consumer"] == [f"{acme.HERE}.AcmeConsumer", "connector acme"]
    assert printed["data_model"] == ["penstock.data_models.GenericMessage", "profile acme"]
    assert printed["config.port"] == ["7001", "profile acme"]
    assert printed["config.host"] == ["example.org", "environment ACME_HOST"]
    assert printed["config.tls"] == ["no", "default"]
    assert printed["concurrency"] == ["3", "queues.yml:6"]
    assert printed["retry.max_attempts"] == ["3", "default"]
    assert printed["metrics_host"] == ["127.0.0.1", "default"]


def test_the_retry_of_a_queue_is_shown_with_its_origins(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it where any of it is given."""
    monkeypatch.setenv("ACME_HOST", "h")

    _code, out, _err = check("orders: {profile: acme, retry: {max_attempts: 5}}\n")

    assert rows(out)["retry.max_attempts"] == ["5", "queues.yml:1"]
    assert rows(out)["retry.max_delay"] == ["15.0", "default"]


def test_what_differs_by_role_is_shown_for_each(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue may read another host than it writes to."""
    monkeypatch.setenv("ACME_CONSUMER_HOST", "in")
    monkeypatch.setenv("ACME_PRODUCER_HOST", "out")

    _code, out, _err = check("orders: {profile: acme}\n")

    printed = rows(out)
    assert printed["config.host (input)"] == ["in", "environment ACME_CONSUMER_HOST"]
    assert printed["config.host (output)"] == ["out", "environment ACME_PRODUCER_HOST"]
    assert "config.host" not in printed


def test_no_secret_is_printed(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """Typed, by name, in a URL, nested, from the file or from the environment, used or refused."""
    monkeypatch.setenv("PW", "hunter2")
    monkeypatch.setenv("ACME_PASSWORD", "hunter2")
    good = """\
a: {connector: acme, config: {host: h, url: 'redis://u:hunter2@h', tls: {key_password: hunter2}, group.id: g}}
b: {connector: acme-bare, value: 'redis://u:hunter2@h', config: {password: '${PW}', auth: {token: '${PW}'}}}
c: {connector: acme-open, config: {sasl.password: hunter2, dsn: 'host=h password=hunter2'}}
"""

    code, out, err = check(good)
    assert (code, err) == (0, "")
    assert "hunter2" not in out
    assert out.count("********") == 8

    for bad in (
        "a: {connector: acme, config: {host: h, password: [hunter2], port: hunter2, url: {x: hunter2}}}\n",
        "a: {connector: acme, value: a b, config: {host: h, pin: '13'}}\n",
        "a: {connector: acme, config: {hunter: 'hunter2'}, batch: hunter2}\n",
        "a: {connector: acme, config: {password: 'hunter2${'}}\n",
        "a: {connector: acme, config: {password: 'hunter2\n",
    ):
        code, out, err = check(bad)
        assert (code, out) == (2, "")
        assert "hunter2" not in err
        assert " 13" not in err


def test_all_problems_come_at_once_on_stderr(check: Check) -> None:
    """The file's own, the registry's, the options', the environment's: one run, exit code 2."""
    code, out, err = check(
        """\
queues:
  orders:
    profile: acme
    model_hander: pydantic
  audit:
    connector: acme-opn
  late:
    connector: acme
    data_model: nowhere.Model
    config:
      host: ${LATE_HOST}
      prt: 1
engine:
  max_inflight: 5
"""
    )

    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "penstock: queue 'orders' (queues.yml:4:5): 'model_hander' is not a key of a queue; "
        "did you mean 'model_handler'?",
        "engine (queues.yml:14:3): 'max_inflight' is not a key of the engine; did you mean 'max_in_flight'?",
        "queue 'audit' (queues.yml:6:5): connector 'acme-opn': nothing that is installed offers one of this name; "
        "did you mean 'acme-open'?",
        "queue 'late' (queues.yml:11:7): 'config.host' needs the environment variable LATE_HOST, which is not set; "
        "set it, or write a default: ${LATE_HOST:-default}",
        "queue 'late' (queues.yml:12:7): 'config.prt' is not a key of connector 'acme'; did you mean 'port'?",
        "queue 'late' (queues.yml:9:5): 'data_model': 'nowhere.Model' cannot be imported: there is no module 'nowhere'",
    ]


class TestRoles:
    """A configuration does not say which queue is an input."""

    CONFIG = "orders: {connector: acme, config: {host: h}}\nsink: {connector: acme-sink}\n"
    NO_GROUP = "queue 'orders' (queues.yml:1:27): connector 'acme': an input needs 'config.group.id'; write it"
    NO_CONSUMER = (
        "queue 'sink' (queues.yml:2:8): connector 'acme-sink' has no consumer, "
        "so the queue can be an output but not an input; use another connector"
    )

    def test_what_one_role_lacks_is_a_note(self, check: Check) -> None:
        """As long as the other role works."""
        code, out, err = check(self.CONFIG)

        assert (code, err) == (0, "")
        assert [line for line in out.splitlines() if "note:" in line] == [
            f"  note: not usable as an input: {self.NO_GROUP}",
            f"  note: not usable as an input: {self.NO_CONSUMER}",
        ]

    def test_a_queue_that_must_be_an_input_is_judged_as_one(self, check: Check) -> None:
        """`--input` makes a note a problem, for that queue."""
        assert check(self.CONFIG, "--input", "orders") == (2, "", f"penstock: {self.NO_GROUP}\n")
        assert check(self.CONFIG, "--output", "orders", "--output", "sink")[0] == 0

    def test_a_queue_may_have_to_be_both(self, check: Check) -> None:
        """Each role that is named must work."""
        assert check(self.CONFIG, "--input", "orders", "--output", "orders")[0] == 2

    def test_a_role_for_all_queues(self, check: Check) -> None:
        """`--role` judges every queue for it and leaves out the other role."""
        assert check(self.CONFIG, "--role", "input") == (2, "", f"penstock: {self.NO_GROUP}\n{self.NO_CONSUMER}\n")
        code, out, _err = check(self.CONFIG, "--role", "output")
        assert code == 0
        assert "consumer" not in rows(out)

    def test_an_unknown_queue_is_a_problem(self, check: Check) -> None:
        """As it is for an engine."""
        assert check(self.CONFIG, "--input", "order") == (
            2,
            "",
            "penstock: queue 'order' is not in queues.yml, which has 'orders', 'sink'; did you mean 'orders'?\n",
        )

    def test_a_queue_that_no_role_suits_is_a_problem(self, check: Check) -> None:
        """What both roles lack is said once; a side that the connector does not have is beside the point."""
        code, _out, err = check("a: {connector: acme}\nb: {connector: acme-sink, config: {host: 1}}\n")

        assert code == 2
        assert [line.removeprefix("penstock: ") for line in err.splitlines()] == [
            "queue 'a' (queues.yml:1:1): 'config.host' is missing; "
            "write it or set the environment variable ACME_CONSUMER_HOST or ACME_HOST",
            "queue 'a' (queues.yml:1:1): 'config.host' is missing; "
            "write it or set the environment variable ACME_PRODUCER_HOST or ACME_HOST",
            "queue 'b' (queues.yml:2:36): 'config.host' must be text, not a number (put it in quotes if it is text)",
        ]

    def test_what_only_one_role_lacks_is_no_problem_beside_others(self, check: Check) -> None:
        """Once the port is mended, the queue works as an output: so its port is the problem, and no group is a note."""
        assert check("a: {connector: acme, config: {host: h, port: 22}}\n") == (
            2,
            "",
            "penstock: queue 'a' (queues.yml:1:40): connector 'acme': "
            "'port' is another service's; take one above 1024\n",
        )

    def test_a_class_that_was_written_down_must_be_good(self, check: Check) -> None:
        """Who names a producer wants it, although the queue would do as an input."""
        code, _out, err = check("a: {connector: acme-bare, producer: nowhere.Producer}\n")

        assert code == 2
        assert "'producer': 'nowhere.Producer' cannot be imported" in err


def test_the_programs_own_modules_are_found(check: Check, tmp_path: Path) -> None:
    """A dotted path names a module beside the configuration, as it does when the program runs."""
    (tmp_path / "my_models_for_check.py").write_text("import pydantic\nclass Order(pydantic.BaseModel):\n    id: int\n")

    code, out, _err = check("a: {connector: acme-bare, data_model: my_models_for_check.Order}\n")

    assert code == 0
    assert rows(out)["data_model"] == ["my_models_for_check.Order", "queues.yml:1"]


def test_import_paths_that_are_turned_off_open_no_folder(check: Check, tmp_path: Path) -> None:
    """A hardened deployment runs nothing that lies beside the configuration."""
    code, _out, err = check("queues: {a: {consumer: x.C}}\nplugins: {allow_import_paths: false}\n")

    assert code == 2
    assert "turned off" in err
    assert str(tmp_path) not in sys.path


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and the plainest sentence."""
    assert main(["check", "nothing.yml"]) == 2
    assert capsys.readouterr().err == "penstock: nothing.yml: there is no such file\n"


def test_toml_is_checked_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without lines, the key's path says where a value came from."""
    (tmp_path / "queues.toml").write_text('[queues.orders]\nconnector = "acme-bare"\n')

    assert main(["check", "queues.toml"]) == 0
    assert rows(capsys.readouterr().out)["connector"] == ["acme-bare", "queues.toml, queues.orders.connector"]
