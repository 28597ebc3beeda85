"""What the conformance kit is made of: its counting, its time limits, its own completeness, its matrix."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ClassVar

import pytest

from penstock.errors import ConnectorError
from penstock.message import QueueMessage
from penstock_kit import BackendFixture, Broken, ConnectorConformance, ServerProcess, limits, matrix, report
from penstock_kit.accounts import balance, shown, shown_headers
from penstock_kit.children import children
from penstock_kit.completeness import missing_tests
from penstock_kit.kit import Kit
from penstock_kit.report import Finding, Outcome, SuiteReport
from penstock_kit.watched import call, check_answers, check_messages


class Nothing(BackendFixture):
    """Offers nothing but a queue of this process."""

    def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:  # noqa: ARG002
        return {"connector": "memory", "value": queue, "config": {"namespace": "machinery", **over}}


class Excused(Nothing):
    """The same, and says why."""

    cannot: ClassVar = {"restart": "it has no server"}


class TestBalance:
    def test_each_once_is_balanced(self) -> None:
        """In any order."""
        balance([b"a", b"b"], [b"b", b"a"], scenario="all went well")

    @pytest.mark.parametrize(
        ("seen", "says"),
        [
            ([b"a"], "1 of 2 messages are LOST: b'b'"),
            ([b"a", b"a"], "1 of 2 messages are LOST: b'b'; moreover 1 deliveries are repetitions"),
            ([b"a", b"b", b"c"], "1 messages came that should not have come: b'c'"),
            ([b"a", b"b", None], "should not have come: a tombstone"),
            ([b"a", b"b", b"b"], "1 deliveries are repetitions; none may"),
        ],
    )
    def test_what_is_lost_strange_or_repeated_is_told(self, seen: list[bytes | None], says: str) -> None:
        """With the scenario, and where to look."""
        with pytest.raises(Broken) as broken:
            balance([b"a", b"b"], seen, scenario="something happened")
        assert str(broken.value).startswith("something happened: ")
        assert says in str(broken.value)
        assert "look at: " in str(broken.value)

    def test_as_many_repetitions_as_were_in_flight_are_allowed(self) -> None:
        """After a fault; one more is too many."""
        balance([b"a"], [b"a"] * 3, repeats=2, scenario="a worker was killed")
        with pytest.raises(Broken, match="at most 1 may"):
            balance([b"a"], [b"a"] * 3, repeats=1, scenario="a worker was killed")


class TestLimits:
    def test_a_blocked_event_loop_fails_the_test_and_not_the_suite(self) -> None:
        """With the place where it hangs."""

        async def hang() -> None:
            time.sleep(3)

        started = time.monotonic()
        with pytest.raises(Broken, match="the connector hangs") as broken:
            limits.run(hang, 0.2)
        assert time.monotonic() - started < 2
        assert "time.sleep(3)" in str(broken.value)

    def test_what_a_test_raises_comes_out_of_its_thread(self) -> None:
        """A skip is one as well."""

        async def skip() -> None:
            pytest.skip("not here")

        with pytest.raises(pytest.skip.Exception, match="not here"):
            limits.run(skip, 5)

    def test_a_timeout_of_the_connectors_own_is_told_from_the_kits(self) -> None:
        """The one is raised as it is, the other names the promise."""

        async def main(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
            async with limits.within(0.05, "it ends", "it"):
                await work()

        async def own() -> None:
            raise TimeoutError("the client's own")

        with pytest.raises(TimeoutError, match="the client's own"):
            asyncio.run(main(own))
        with pytest.raises(Broken, match="it ends"):
            asyncio.run(main(lambda: asyncio.sleep(5)))

    def test_a_call_raises_what_the_contract_knows(self) -> None:
        """Any other error is the connector's bug."""

        async def main(error: Exception) -> None:
            async with call("consume", 1.0, "it"):
                raise error

        with pytest.raises(ConnectorError, match="refused"):
            asyncio.run(main(ConnectorError("refused")))
        with pytest.raises(Broken, match="consume raised KeyError: 'x'"):
            asyncio.run(main(KeyError("x")))

    def test_an_error_of_the_connector_says_which_call_raised_it(self) -> None:
        """Where a test has not asked for it, that is all there is to read."""

        async def main() -> None:
            async with call("consume", 1.0, "its timeout"):
                raise ConnectorError("refused")

        with pytest.raises(ConnectorError) as raised:
            asyncio.run(main())
        assert raised.value.__notes__ == [
            "raised by consume(). If nothing was wrong with the backend, look at: its timeout"
        ]


class TestAnswers:
    @pytest.mark.parametrize(
        "message",
        [
            "text",
            QueueMessage(1, "text"),  # type: ignore[arg-type]
            QueueMessage(1, b"", key="k"),  # type: ignore[arg-type]
            QueueMessage(1, b"", headers=[("a", "b")]),  # type: ignore[list-item]
            QueueMessage(1, b"", timestamp="now"),  # type: ignore[arg-type]
            QueueMessage(1, b"", attempts=0),
            QueueMessage(1, b"", position=7),  # type: ignore[arg-type]
        ],
    )
    def test_a_message_of_the_wrong_shape_is_refused(self, message: Any) -> None:
        """Of whatever field."""
        check_messages([QueueMessage(1, b"")], 1)
        with pytest.raises(Broken):
            check_messages([message], 1)

    def test_too_many_messages_are_refused(self) -> None:
        """Whatever they are."""
        with pytest.raises(Broken, match="returns at most 1 messages; it returned 2"):
            check_messages([QueueMessage(1, b""), QueueMessage(2, b"")], 1)

    def test_an_answer_a_record(self) -> None:
        """Neither fewer nor of another kind."""
        check_answers([None], [object()])  # type: ignore[list-item]
        for answers in ([], [None, None], ["no"]):
            with pytest.raises(Broken, match="one entry a record"):
                check_answers(answers, [object()])  # type: ignore[arg-type,list-item]


class TestShown:
    def test_a_long_value_is_cut_and_measured(self) -> None:
        """A short one is shown as it is."""
        assert shown(b"short") == "b'short'"
        assert shown(None) == "None"
        assert shown(b"x" * 1_000) == f"{b'x' * 20!r}… (1000 bytes)"
        assert shown_headers([("a", b"1"), ("b", b"x" * 41)]) == f"[('a', b'1'), ('b', {b'x' * 20!r}… (41 bytes))]"


class TestChild:
    def test_a_childs_memory_is_its_own(self) -> None:
        """Also below the memory that the parent process had used, which would hide its growth."""
        large = b"x" * 200_000_000
        program = "from penstock_kit.child import peak; print(peak())"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert len(large) // 1024 > 2 * int(done.stdout) > 0


class TestBackend:
    def test_what_a_backend_fixture_neither_offers_nor_excuses_is_a_failure(self) -> None:
        """Nothing is left out by forgetting it."""
        for facility, what in (
            ("restart", r"restart_backend\(\)"),
            ("stop", r"stop_backend\(\) and start_backend\(\)"),
            ("lease", "short_lease"),
            ("freeze", "short_lease or frozen_after"),
        ):
            with pytest.raises(Broken, match=f"neither offers {what} nor says why not"):
                Kit("memory", Nothing(), "test").needs(facility)

    def test_an_excuse_is_noted_with_its_reason(self) -> None:
        """For the matrix."""
        notes: list[tuple[str, str]] = []
        kit = Kit("memory", Excused(), "test", lambda outcome, reason: notes.append((outcome, reason)))
        with pytest.raises(pytest.skip.Exception):
            kit.needs("restart")
        assert notes == [("not provable", "it has no server")]

    def test_one_test_alone_can_be_excused(self) -> None:
        """A server may restart, and still break one promise by it."""

        class Partly(Nothing):
            cannot: ClassVar = {"restart:test_a_lease_that_is_extended_does_not_end": "its clock stops"}

            def restart_backend(self) -> None:
                """It can."""

        Kit("memory", Partly(), "test_every_byte_survives").needs("restart")
        with pytest.raises(pytest.skip.Exception, match="not provable: its clock stops"):
            Kit("memory", Partly(), "test_a_lease_that_is_extended_does_not_end").needs("restart")

    @pytest.mark.parametrize("key", ["restarts", "restart:test_that_is_not_there", "restart:lease"])
    def test_an_excuse_for_what_is_unknown_is_refused(self, key: str) -> None:
        """It would excuse nothing."""
        backend = Nothing()
        backend.cannot = {key: "because"}  # type: ignore[misc]

        with pytest.raises(Broken, match=f"`cannot` names '{key}', which is not known"):
            Kit("memory", backend, "test").needs("restart")

    def test_a_server_process_is_a_backend_that_can_be_stopped_and_paused(self) -> None:
        """No method has to be written."""
        backend = Nothing()
        assert not backend.offers("stop")
        backend.server = ServerProcess(["acme"], lambda: True, Path("acme.log"))

        assert [name for name in ("restart", "stop", "pause", "nowhere") if backend.offers(name)] == [
            "restart", "stop", "pause",
        ]  # fmt: skip

    def test_a_queue_is_called_after_its_test_and_is_its_own(self) -> None:
        """Of letters, digits and dashes, not too long."""
        one, other = (Kit("memory", Nothing(), f"test_{'What_a_promise' * 9}").queue for _ in range(2))
        assert one != other
        assert one.startswith("what-a-promisewhat-a-promise")
        assert len(one) <= 60
        assert one.replace("-", "").isalnum()

    def test_a_backend_fixture_of_another_connector_is_refused(self) -> None:
        """All tests would be about that one, and all capabilities those of this one."""

        class Mistaken(Nothing):
            def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:  # noqa: ARG002
                return {"connector": "kafka", "value": queue}

        with pytest.raises(Broken, match="this one is about 'memory', but its backend fixture configures 'kafka'"):
            Kit("memory", Mistaken(), "test").config()

    def test_an_input_only_needs_a_producer_of_the_tests(self) -> None:
        """Something must put messages into its queue; promises of a producer alone are not tested then."""

        class Clock(BackendFixture):
            def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:  # noqa: ARG002
                return {"connector": "timer", "value": queue, "config": {"every": 1, **over}}

        kit = Kit("timer", Clock(), "test")
        assert kit.roles == ["input"]
        with pytest.raises(Broken, match="'timer' is an input only, and its backend fixture names no producer"):
            kit.config()
        with pytest.raises(pytest.skip.Exception, match="not promised: it is an input only"):
            kit.needs_output()

    def test_what_is_at_most_once_is_not_asked_for_more(self) -> None:
        """Nor may it keep messages without saying so, which this one does."""

        class Fleeting(Nothing):
            at_most_once = True

        suite = type("Suite", (ConnectorConformance,), {"connector": "memory"})()
        with pytest.raises(pytest.skip.Exception, match="not promised: at most once"):
            suite.test_a_close_with_messages_in_flight_loses_none(Kit("memory", Fleeting(), "test"))
        with pytest.raises(Broken, match="nothing is stored, yet this test passes: Messages wait"):
            suite.test_messages_wait_for_a_consumer_that_comes_later(Kit("memory", Fleeting(), "test"))
        suite.test_a_message_comes_back_as_it_was_sent(Kit("memory", Fleeting(), "test"))

    def test_settings_that_are_no_plain_data_are_refused(self) -> None:
        """Another process must be given them."""

        class Rich(Nothing):
            def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:  # noqa: ARG002
                return {"connector": "memory", "value": queue, "config": {"namespace": Path("/")}}

        kit = Kit("memory", Rich(), "test")
        with children(kit) as maker, pytest.raises(Broken, match=r"config\(\) returns plain data.*PosixPath"):
            maker.start("work")


class TestCompleteness:
    def test_a_whole_suite_misses_nothing(self) -> None:
        """Further tests are welcome."""
        suite = type("Suite", (ConnectorConformance,), {"test_of_its_own": lambda _self: None})
        assert list(missing_tests(suite, ConnectorConformance)) == []

    def test_a_deleted_test_is_missed(self) -> None:
        """`test_x = None` is what hides a test from pytest."""
        suite = type("Suite", (ConnectorConformance,), {"test_queues_do_not_bleed": None})
        assert list(missing_tests(suite, ConnectorConformance)) == ["test_queues_do_not_bleed was deleted"]

    @pytest.mark.parametrize(
        "mark",
        [
            None,
            pytest.mark.skip(reason="not today"),
            pytest.mark.xfail(reason="not strict"),
            pytest.mark.xfail(strict=True),
            pytest.mark.xfail(strict=True, reason=" "),
        ],
    )
    def test_an_overridden_test_needs_a_strict_xfail_with_a_reason(self, mark: Any) -> None:
        """Nothing less excuses it."""

        def test_queues_do_not_bleed(self: Any, kit: Kit) -> None:
            pass

        def excused(self: Any, kit: Kit) -> None:
            pass

        theirs = mark(test_queues_do_not_bleed) if mark else test_queues_do_not_bleed
        excused = pytest.mark.xfail(strict=True, reason="names are cut")(excused)
        suite = type("Suite", (ConnectorConformance,), {"test_queues_do_not_bleed": theirs})
        whole = type("Suite", (ConnectorConformance,), {"test_queues_do_not_bleed": excused})

        assert ["without a mark" in sentence for sentence in missing_tests(suite, ConnectorConformance)] == [True]
        assert list(missing_tests(whole, ConnectorConformance)) == []


ACME = SuiteReport(
    "acme",
    "old",
    {"headers": True, "keys": True, "ordering": "key", "lag": False, "record_delay": False, "replay": True},
    [
        Finding("test_one", "basics", "", "proved"),
        Finding("test_headers", "fidelity", "headers", "proved"),
        Finding("test_keys", "fidelity", "keys", "broken"),
        Finding("test_order", "ordering", "ordering", "proved"),
        Finding("test_more_order", "ordering", "ordering", "known gap", "shards move"),
        Finding("test_lag", "lifecycle", "lag", "broken"),
        Finding("test_delay", "settling", "record_delay", "not declared"),
        Finding("test_replay", "membership", "replay", "not provable", "it | forgets"),
        Finding("test_restart", "faults", "", "not provable", "it | forgets"),
    ],
)


class TestMatrix:
    def test_each_capability_and_family_has_its_cell(self) -> None:
        """Declared and proved, declared and broken, hidden, unprovable."""
        capabilities, families = ({row[0]: row[1] for row in table} for table in matrix.tables([ACME]))
        assert capabilities["capability"] == "acme (old)"
        assert capabilities["headers"] == "proved"
        assert capabilities["keys"] == "BROKEN"
        assert capabilities["ordering"] == "by key known gap"
        assert capabilities["lag"] == "BROKEN: not declared, and there"
        assert capabilities["record_delay"] == "no"
        assert capabilities["replay"] == "not provable"
        assert families["fidelity"] == "1 proved, 1 BROKEN"
        assert families["ordering"] == "1 proved, 1 known gap"
        assert families["settling"] == ""

    def test_a_capability_that_is_proved_in_part_says_how_many_tests_could_run(self) -> None:
        """What is not promised does not count; what could not run does."""
        outcomes: tuple[Outcome, ...] = ("proved", "proved", "not provable", "skipped", "not promised")
        findings = [Finding(f"test_{n}", "leases", "lease", outcome) for n, outcome in enumerate(outcomes)]
        suite = SuiteReport("acme", "", {"lease": True}, findings)

        assert ["lease", "in part, 2 of 4"] in matrix.tables([suite])[0]

    def test_everything_that_is_not_proved_has_a_note(self) -> None:
        """Once a reason."""
        assert list(matrix.notes([ACME])) == [
            "acme (old): broken: test_keys, test_lag",
            "acme (old): known gap, because shards move: test_more_order",
            "acme (old): not provable, because it | forgets: test_replay, test_restart",
        ]

    def test_a_server_that_is_not_there_is_one_line(self) -> None:
        """And not the names of all tests that were skipped for it."""
        suite = SuiteReport(
            "bolt", "", {}, [Finding(f"test_{n}", "basics", "", "skipped", "no server") for n in range(70)]
        )
        assert list(matrix.notes([suite])) == ["bolt: skipped, because no server: 70 tests"]

    def test_a_report_is_read_back_and_added_to(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A later run replaces its own tests and leaves the others; the program prints all as Markdown."""
        path = tmp_path / "report.json"
        kept = Finding("test_two", "basics", "", "proved")
        other = SuiteReport("bolt", "", {"headers": False}, [Finding("test_one", "basics", "", "broken"), kept])
        report.write(path, [ACME, other])
        report.write(path, [SuiteReport("bolt", "", {"headers": False}, [Finding("test_one", "basics", "", "proved")])])
        assert matrix.main([str(path)]) == 0
        printed = capsys.readouterr().out
        assert "| capability | acme (old) | bolt |" in printed
        assert "| basics | 1 proved | 2 proved |" in printed
        assert "it \\| forgets" not in printed.split("| basics")[0]

    def test_what_is_no_report_is_refused(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """With its name, and not with a traceback."""
        (tmp_path / "report.json").write_text("[]")
        assert matrix.main([str(tmp_path / "report.json")]) == 2
        assert "report.json is not a conformance report" in capsys.readouterr().err


NAMELESS = """
import pytest
from penstock_kit import ConnectorConformance

class TestNameless(ConnectorConformance):
    @pytest.fixture
    def backend(self):
        return None

class TestWithoutFixture(TestNameless):
    connector = "memory"
"""


def test_what_an_author_has_forgotten_is_said_in_a_sentence(tmp_path: Path) -> None:
    """The connector's name; the backend fixture itself."""
    (tmp_path / "test_suite.py").write_text(NAMELESS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "bleed"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "a suite names its connector; TestNameless does not" in done.stdout
    assert "the fixture `backend` returns a BackendFixture; that of TestWithoutFixture returned None" in done.stdout


SUITE = """
import pytest
from penstock_kit import ConnectorConformance, BackendFixture

class InProcess(BackendFixture):
    idle_timeout = 0.05
    def config(self, queue, group=None, **over):
        return {"connector": "memory", "value": queue, "config": {"namespace": "suite", **over}}
    cannot = {"processes": "it lives in this process"}

class TestMemory(ConnectorConformance):
    connector = "memory"

    @pytest.fixture
    def backend(self):
        return InProcess()

    test_many_queues_work_side_by_side = None

    @pytest.mark.xfail(strict=True, reason="it is only a test")
    def test_queues_do_not_bleed(self, kit):
        raise AssertionError

    def test_of_its_own(self, kit):
        assert kit.queue.startswith("of-its-own-")
"""
CHOSEN = "bleed or comes_back or restart_loses or bled or deleted or killed_workers_lose or of_its_own or tombstone_is"


def run_suite(directory: Path, *arguments: str) -> str:
    """What an author's own pytest prints of the suite above."""
    (directory / "test_suite.py").write_text(textwrap.dedent(SUITE))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", CHOSEN, *arguments],
        cwd=directory,
        env={**os.environ, "PENSTOCK_CONFORMANCE_REPORT": str(directory / "report.json")},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


@pytest.mark.parametrize("how", [(), ("-n", "2", "-p", "penstock_kit.recorder")], ids=["alone", "xdist"])
def test_a_run_prints_the_matrix_and_writes_the_report(how: tuple[str, ...], tmp_path: Path) -> None:
    """What was proved, what not and why, what is broken; also where the tests run in other processes."""
    printed = run_suite(tmp_path, *how)
    (suite,) = json.loads((tmp_path / "report.json").read_text())["suites"]
    found = {finding["test"]: (finding["outcome"], finding["reason"]) for finding in suite["findings"]}

    assert found == {
        "test_a_message_comes_back_as_it_was_sent": ("proved", ""),
        "test_a_tombstone_is_not_an_empty_body": ("proved", ""),
        "test_killed_workers_lose_nothing": ("not provable", "it lives in this process"),
        "test_queues_do_not_bleed": ("known gap", "it is only a test"),
        "test_a_restart_loses_nothing": ("broken", ""),
        "test_no_test_was_deleted_or_overridden": ("broken", ""),
    }, printed
    assert suite["capabilities"]["tombstones"] is True
    assert "tombstones    " in printed
    assert "memory: known gap, because it is only a test: test_queues_do_not_bleed" in printed
    assert "neither offers restart_backend() nor says why not" in printed
    assert "test_many_queues_work_side_by_side was deleted" in printed


def test_a_report_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    """Tests that run in other processes, and the recorder in none that is told of them all."""
    assert "run pytest with -p penstock_kit.recorder, which writes it" in run_suite(tmp_path, "-n", "2")
    assert not (tmp_path / "report.json").exists()
