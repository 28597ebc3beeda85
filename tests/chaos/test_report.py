"""A row that breaks any bound says so, is repeated by the command that it prints, and makes the exit code 1."""

from __future__ import annotations

import signal
import sys
import threading
import time
import traceback
from importlib.metadata import entry_points
from typing import Any

import pytest

from tests.chaos import command_line, runner, scenarios
from tests.chaos.bounds import Bound, bound
from tests.chaos.ledger import Findings, Kind
from tests.chaos.report import HEADINGS, Skipped, row, table
from tests.chaos.rounds import Result
from tests.chaos.runner import Runner
from tests.chaos.scenarios import IN_FLIGHT, Trial
from tests.chaos.servers import Servers, Unavailable
from tests.chaos.waiting import Stop

TRIALS = {trial.name: trial for trial in [*scenarios.short(), *scenarios.full()]}


def result(trial: str = "rsmq/kill", allowed: int = 2, **found: Any) -> Result:
    """A row: good, but for what is given."""
    more = {name: found.pop(name) for name in ("stuck", "surprises", "yardstick_seconds") if name in found}
    return Result(
        TRIALS[trial], 17, Bound(allowed, "a reason"), Findings(100, **found), **{"stuck": 0, **more},
        seconds=3.0, working_seconds=3.0,
    )  # fmt: skip


def test_a_row_within_its_bounds_is_not_broken() -> None:
    """Duplicates up to the bound are what the manual allows."""
    assert result(duplicates=[1, 2], out_of_order=[], yardstick_seconds=2.0).broken() == []


@pytest.mark.parametrize(
    ("found", "named"),
    [
        ({"lost": [41, 42]}, "2 lost: serial 41, 42"),
        ({"duplicates": [1, 2, 3]}, "3 duplicates, at most 2 (a reason): serial 1, 2, 3"),
        ({"wrongly_rejected": {5: "delivery"}}, "1 healthy in the dead-letter queue, stage delivery: serial 5"),
        ({"wrongly_accepted": [6]}, "1 bad ones have outputs: serial 6"),
        ({"strangers": ["an output that no program made"]}, "an output that no program made"),
        ({"out_of_order": [8]}, "1 out of order: serial 8"),
        ({"stuck": 9}, "9 stuck"),
        ({"surprises": ["a worker ended by itself"]}, "a worker ended by itself"),
        ({"yardstick_seconds": 1.9}, "3.0 s, at most 1.5 × 1.9 s of at least once"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_broken_row_is_named_with_the_command_that_repeats_it(found: dict[str, Any], named: str) -> None:
    """In the table and below it."""
    broken = result(**found)
    assert broken.broken() == [named]
    assert row(broken)[-1] == "BROKEN"
    printed = table([result(), broken], [])
    assert printed.splitlines()[-2:] == [
        f"BROKEN rsmq/kill: {named}",
        "       again: nox -s chaos -- --only rsmq/kill --seed 17",
    ]


def test_the_table_shows_what_was_asked_for() -> None:
    """Every count has its column."""
    cells = dict(
        zip(HEADINGS, row(result(lost=[1], duplicates=[2, 3], wrongly_rejected={4: "x"}, stuck=5)), strict=True)
    )
    assert cells["sent"] == "100"
    assert (cells["lost"], cells["dupl."], cells["bound"]) == ("1", "2", "≤ 2")
    assert (cells["healthy in DLQ"], cells["stuck"], cells["order"]) == ("1", "5", "-")


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("kafka/term", 0),
        ("kafka/latency", 0),
        ("kafka/kill", 3 * (IN_FLIGHT + 400)),
        ("rsmq/kill", 3 * IN_FLIGHT),
        ("rsmq/lost-answers", 2 * IN_FLIGHT),
        ("postgres/term", 0),
        ("postgres/freeze", IN_FLIGHT),
        ("postgres-exactly-once/blackhole", 0),
        ("postgres-exactly-once/kill", 0),
        ("postgres.changes/3-kills", 3 * (IN_FLIGHT + 2_000)),
    ],
)
def test_the_bound_is_that_of_the_manual(name: str, allowed: int) -> None:
    """What was in flight, and on Kafka what was settled since the last commit; nothing of it with exactly once."""
    assert bound(TRIALS[name]).duplicates == allowed


LOADED = [trial for trial in TRIALS.values() if "crashes" not in trial.title]  # those are about dead letters alone


@pytest.mark.parametrize("trial", LOADED, ids=lambda trial: trial.name)
def test_a_bound_is_below_what_was_sent(trial: Trial) -> None:
    """A bound that nothing can break would be none."""
    assert bound(trial).duplicates < trial.messages


def test_every_scenario_and_every_fault_is_tried() -> None:
    """The long form has each fault in each scenario; the short form has each scenario, and what once failed."""
    workers, servers = ("kill", "term", "freeze"), ("broker-kill", "broker-stop")
    wire = ("blackhole", "half-open", "reset", "lost-answers", "latency")
    faults = [*workers, *servers, *wire]
    full = {trial.name for trial in scenarios.full()}
    assert {f"{scenario}/{fault}" for scenario in scenarios.SCENARIOS for fault in faults} <= full
    assert "postgres-exactly-once/slow-database" in full
    assert {f"{name}/poison-{how}" for name in ("rsmq", "postgres") for how in ("exit", "segv", "abort")} <= full
    short = scenarios.short()
    assert {trial.scenario.name for trial in short} == set(scenarios.SCENARIOS)
    assert {trial.scenario.name for trial in short if Kind.POISON in trial.shares} == {"rsmq", "postgres"}


def test_every_durable_connector_has_a_row_of_kills() -> None:
    """What is left out holds no messages, or is a kind, the input or the output of one that is in."""
    left_out = {
        *("memory", "redis.pubsub", "zmq", "zmq.reply", "timer", "sns", "sqs.fifo", "rabbitmq.classic"),
        *("postgres.table", "postgres.poll", "http.poll", "http.webhook"),
    }
    rows = {trial.scenario.name: trial for trial in scenarios.full() if trial.title == "3-kills"}
    plugins = [entry.load() for entry in entry_points(group="penstock")]
    connectors = {spec.name for plugin in plugins for spec in getattr(plugin, "penstock_connectors", list)()}
    assert set(rows) == (connectors - left_out) | {"http", "postgres-exactly-once"}
    assert {trial.messages for trial in rows.values() if not trial.fewer} == {20_000}
    assert [name for name, trial in rows.items() if trial.fewer] == ["storage_queue"]


def test_a_row_with_fewer_messages_says_why() -> None:
    """Below the table."""
    printed = table([result("storage_queue/3-kills"), result("sqs/3-kills")], [])
    assert [line for line in printed.splitlines() if "only" in line] == [
        f"storage_queue/3-kills: only 1,000 messages: {scenarios.AZURITE}"
    ]


def test_a_fault_of_the_ledger_fails_its_row_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other rows run, and the table has them all; the exit code is 1."""

    def faulty(trial: Trial, *_rest: object) -> Result:
        if trial.name == "rsmq/kill":
            raise TimeoutError("the server did not tell what it has")
        return result(trial.name)

    monkeypatch.setattr(Servers, "get", lambda _self, _name: None)
    monkeypatch.setattr(runner, "run", faulty)
    assert command_line.main(["--only", "rsmq/kill", "--only", "rsmq/term", "--seed", "17"]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] + line.split()[-1:] for line in printed[2:4]] == [
        ["rsmq", "term", "ok"],
        ["rsmq", "kill", "FAILED"],
    ]
    assert printed[-2:] == [
        "FAILED rsmq/kill: TimeoutError: the server did not tell what it has",
        "       again: nox -s chaos -- --only rsmq/kill --seed 17",
    ]


def test_a_server_that_does_not_start_fails_its_rows_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the reason, also where it is not required."""

    def dead(_self: Servers, _name: str) -> Any:
        raise OSError("it ended at once")

    monkeypatch.setattr(Servers, "_redis", dead)
    assert command_line.main(["--only", "rsmq/kill"]) == 1
    assert "not run: rsmq: it ended at once" in capsys.readouterr().out.splitlines()


def test_an_interrupted_run_prints_what_has_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And names what it left out, whether that had begun or not."""

    def interrupted(trial: Trial, _servers: Servers, _seed: int, stop: Stop) -> Result:
        if trial.name == "rsmq/kill":
            return result(trial.name)
        main = threading.main_thread().ident or 0
        # A signal while the lanes start would find the pool half made.
        while "result" not in {frame.name for frame in traceback.extract_stack(sys._current_frames()[main])}:
            time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGINT)
        while True:
            stop.check()
            time.sleep(0.01)

    monkeypatch.setattr(Servers, "get", lambda _self, _name: None)
    monkeypatch.setattr(runner, "run", interrupted)
    assert command_line.main(["--only", "rsmq/kill", "--only", "rsmq/term", "--only", "rsmq/freeze"]) == 130
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[2][:2] == ["rsmq", "kill"]
    assert rows[2][-1] == "ok"
    left_out = sorted(each for each in rows if each[2:] == ["not", "run"])
    assert left_out == [["rsmq", "freeze", "not", "run"], ["rsmq", "term", "not", "run"]]
    assert ["not", "run:", "rsmq:", "the", "run", "was", "interrupted"] in rows


def test_names_are_unique() -> None:
    """A name repeats one row, not two."""
    for form in (scenarios.short(), scenarios.full()):
        names = [trial.name for trial in form]
        assert len(names) == len(set(names))


def test_only_takes_a_scenario_a_row_and_a_pattern(capsys: pytest.CaptureFixture[str]) -> None:
    """`--list` shows what `--only` takes."""
    assert command_line.main(["--list", "--only", "rsmq/kill", "--only", "kafka/t*"]) == 0
    assert set(capsys.readouterr().out.split()) == {"rsmq/kill", "kafka/term", "kafka/term+term"}
    assert command_line.main(["--list", "--only", "postgres"]) == 0
    assert all(line.startswith("postgres/") for line in capsys.readouterr().out.split())


@pytest.mark.parametrize("arguments", [["--only", "nothing"], ["--rounds", "x"], ["--rounds", "0"], ["--jobs", "0"]])
def test_a_wrong_command_line_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """And says what is wrong."""
    with pytest.raises(SystemExit) as ended:
        command_line.main(arguments)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize("required", [False, True])
def test_a_server_that_is_missing_leaves_its_rows_out_or_fails(
    required: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its reason; a failure where PENSTOCK_TEST_REQUIRE names it."""

    def away(_self: Servers, _name: str) -> Any:
        raise Unavailable("there is no Java", required)

    monkeypatch.setattr(Servers, "get", away)
    assert command_line.main(["--only", "kafka/kill"]) == int(required)
    assert "not run: kafka: there is no Java" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(("lost", "code"), [([], 0), ([3], 1)])
def test_the_exit_code_is_1_if_a_row_is_broken(lost: list[int], code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And 0 if none is."""
    monkeypatch.setattr(Runner, "run", lambda self, _trials, _jobs: self._found.update({0: result(lost=lost)}))
    assert command_line.main(["--only", "rsmq/kill"]) == code


def test_a_row_with_a_yardstick_shows_both_times() -> None:
    """Also a good one."""
    printed = table([result("postgres-exactly-once/slow-database", yardstick_seconds=4.0)], [])
    assert "3.0 s from the first call on; at least once took 4.0 s" in printed


def test_a_row_that_was_not_run_is_in_the_table() -> None:
    """It is not silently missing."""
    assert "not run" in table([result()], [Skipped("kafka", "kill", "there is no Java", False)])
