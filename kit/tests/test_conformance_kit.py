"""The conformance kit: a correct connector passes all of it, each of many broken ones is refused by a named test."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import pytest

from penstock.message import Record
from penstock_kit import BackendFixture, Broken, ConnectorConformance
from penstock_kit.families.ordering import Ordering
from penstock_kit.kit import Kit

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from mutants.catalogue import MUTANTS, REFERENCE_BY_KEY, Part  # noqa: E402

sys.path.remove(str(HERE))


@pytest.fixture(autouse=True, scope="module")
def mutants_installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The plugin of the mutants is an installed one, as far as the metadata tell."""
    site = tmp_path_factory.mktemp("site")
    metadata = site / "mutants-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mutants\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[penstock]\nmutants = mutants.plugin\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        patch.syspath_prepend(str(site))
        yield


class FileBackend(BackendFixture):
    """Reaches `mutants.reference` and its variations."""

    timeout = 4.0
    idle_timeout = 0.05
    short_lease: ClassVar = {"lease": 0.8}

    def __init__(self, connector: str, directory: Path) -> None:
        self._connector = connector
        self._started = directory / "broker.db.started"
        self._file = directory / "broker.db"
        self._away = directory / "broker.db.away"
        self._hangs = directory / "broker.db.hangs"

    def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:
        options = {"path": str(self._file), **({"group": group} if group else {}), **over}
        return {"connector": self._connector, "value": queue, "config": options}

    def restart_backend(self) -> None:
        self._started.write_text(str(time.monotonic_ns()))

    def stop_backend(self) -> None:
        self._away.touch()

    def start_backend(self) -> None:
        self._away.unlink()

    def pause_backend(self) -> None:
        self._hangs.touch()

    def resume_backend(self) -> None:
        self._hangs.unlink()

    def nowhere(self, queue: str) -> dict[str, Any]:
        return {"connector": self._connector, "value": queue, "config": {"path": "/nowhere/broker.db"}}

    def refusing(self, queue: str) -> tuple[dict[str, Any], Record]:
        return self.config(queue), Record(bytes(2_000_001))


class TestReference(ConnectorConformance):
    """The connector that all mutants are variations of passes the whole kit."""

    connector = "mutants.reference"

    @pytest.fixture
    def backend(self, tmp_path: Path) -> BackendFixture:
        return FileBackend(self.connector, tmp_path)

    @pytest.fixture(autouse=True)
    def recorded(self, request: pytest.FixtureRequest) -> None:
        """Not in the matrix, which is of connectors that users have."""


KIT_TESTS = sorted(name for name in dir(ConnectorConformance) if name.startswith("test_"))
ORDER_TESTS = sorted(name for name in vars(Ordering) if name.startswith("test_"))

AT_ONCE = 16  # mutants tested at the same time: most of their time is waiting
ALONE = (
    "nothing_is_left_after_a_shutdown",
    "making_a_connector_does_nothing",
    "an_engine_that_is_cancelled_leaves_nothing",
)
"""What looks at the whole process."""


def run(part: Part, test: str, directory: Path, timeout: float) -> None:
    """Run one test of the kit against one connector, as pytest would."""
    backend = FileBackend(part.connector, directory)
    backend.timeout = timeout  # type: ignore[misc]  # a shorter one, for what must fail
    suite = type("Suite", (ConnectorConformance,), {"connector": part.connector})()
    getattr(suite, test)(Kit(part.connector, backend, test))


def outcome(part: Part, directory: Path, timeout: float = 1.0) -> BaseException | None:
    """What the test that should refuse a mutant raises."""
    try:
        run(part, f"test_{part.caught_by}", directory, timeout)
    except BaseException as error:  # noqa: BLE001  (looked at by the test of this mutant)
        return error
    return None


Refusals = dict[Part, BaseException | None]


@pytest.fixture(scope="module")
def refusals(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Refusals:
    """Each mutant that is asked for, and what it was refused with."""
    asked = {item.callspec.params.get("part") for item in request.session.items if hasattr(item, "callspec")}
    asked_for = [part for part in MUTANTS if part in asked]
    directories = [tmp_path_factory.mktemp("mutant") for _part in asked_for]
    with pytest.MonkeyPatch.context() as patch:
        # What must fail, fails soon.
        patch.setenv("PENSTOCK_CONFORMANCE_KILLS", "2")
        patch.setattr("penstock_kit.families.lifecycle.GONE_WITHIN", 0.3)
        found = {p: outcome(p, d) for p, d in zip(asked_for, directories, strict=True) if p.caught_by in ALONE}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            together = [(p, d) for p, d in zip(asked_for, directories, strict=True) if p.caught_by not in ALONE]
            found |= zip([p for p, _ in together], pool.map(lambda each: outcome(*each), together), strict=True)
        for part in [part for part, error in found.items() if not isinstance(error, Broken)]:
            # So many at once have little time each, which a real suite does not have to live with.
            found[part] = outcome(part, tmp_path_factory.mktemp("mutant"), timeout=4.0)
    _tell(found, request.config)
    return found


TABLE = "PENSTOCK_MUTANTS"
"""A file for the table of mutants, where another process prints it."""


def _tell(found: Refusals, config: pytest.Config) -> None:
    """Name every mutant, what is broken in it and the test that caught it, at the end of the run."""
    rows = [("mutant", "caught by", "what is broken")]
    for part, error in found.items():
        rows.append(
            (part.name, part.caught_by if isinstance(error, Broken) else "NO TEST: IT GOT THROUGH", part.fault())
        )
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f"{name:{widths[0]}}  {caught:{widths[1]}}  {fault}" for name, caught, fault in rows]
    if os.environ.get(TABLE):
        Path(os.environ[TABLE]).write_text("\n".join(lines) + "\n")
    config.pluginmanager.register(Summary(lines))


class Summary:
    """Prints the table where this process is the one that prints."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """One line each."""
        terminalreporter.section(f"{len(self._lines) - 1} times a mutant was to be caught")
        for line in self._lines:
            terminalreporter.write_line(line)


@pytest.mark.parametrize("part", MUTANTS, ids=lambda part: f"{part.name}-{part.caught_by}")
def test_a_mutant_is_refused_by_a_named_test(part: Part, refusals: Refusals) -> None:
    """Each by the test that knows its fault, and with a text that says where to look."""
    error = refusals[part]
    assert isinstance(error, Broken), error
    assert "look at: " in str(error)


@pytest.mark.parametrize("test", ORDER_TESTS)
def test_a_reference_connector_that_orders_by_key_passes(test: str, tmp_path: Path) -> None:
    """The base of the mutants that break the order of keys."""
    whole_queue = test == "test_messages_come_in_the_order_they_were_produced"
    absent = pytest.raises(pytest.skip.Exception, match="not declared: order by queue; probed, and missing")
    with absent if whole_queue else nullcontext():
        run(REFERENCE_BY_KEY, test, tmp_path, timeout=4.0)


def test_every_mutant_says_what_is_broken_in_it() -> None:
    """In a sentence, for the table."""
    assert [part.name for part in MUTANTS if len(part.fault()) < 10] == []


def test_a_name_stands_for_one_mutant() -> None:
    """Caught by two tests, it is the same one both times."""
    assert len({(part.name, repr(part.spec())) for part in MUTANTS}) == len({part.name for part in MUTANTS})


def test_every_test_of_the_kit_refuses_a_mutant() -> None:
    """A test that cannot fail proves nothing."""
    idle = set(KIT_TESTS) - {f"test_{part.caught_by}" for part in MUTANTS}
    # That one looks at the suite, not at a connector.
    assert idle == {"test_no_test_was_deleted_or_overridden"}
