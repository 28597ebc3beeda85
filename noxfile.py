"""Every check of this repository. `nox` alone runs what CI runs; `nox -l` lists the rest."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["lint", "types", "tests", "chaos_short", "wheels", "examples"]
nox.options.reuse_existing_virtualenvs = True

ROOT = Path(__file__).parent
DISTRIBUTIONS = [
    "core",
    "kit",
    *sorted(str(path.parent.relative_to(ROOT)) for path in ROOT.glob("plugins/*/pyproject.toml")),
]
EDITABLE = [word for path in DISTRIBUTIONS for word in ("-e", path)]
"""For pip, in one go, so that siblings satisfy each other."""

PROJECT = nox.project.load_toml("pyproject.toml")


def group(name: str) -> list[str]:
    """The requirements of a dependency group of the root pyproject.toml."""
    return list(nox.project.dependency_groups(PROJECT, name))


def install_workspace(session: nox.Session, *requirements: str) -> None:
    """Install all distributions, editable, into an environment of the session's own."""
    session.install("--no-compile", *EDITABLE, *requirements)


ENVIRONMENT = ROOT / ".nox" / f"workspace-{sys.version_info.major}.{sys.version_info.minor}"
"""The environment that most sessions share: installing takes longer than some of them."""

installed = False


def run_in_workspace(session: nox.Session, program: str, *arguments: str, **variables: str) -> None:
    """Run a program beside all distributions of the workspace, which are installed once, editable."""
    global installed
    programs = ENVIRONMENT / "bin"
    if not (programs / "python").exists():
        session.run(sys.executable, "-m", "venv", str(ENVIRONMENT), external=True)
    if not installed:
        # Most is never imported, so not compiled. One hatchling builds all; pip would install one for each.
        pip = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--no-compile"]
        session.run(*pip, *group("types"), *group("test"), external=True)
        session.run(*pip, "--no-build-isolation", *EDITABLE, external=True)
        installed = True
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    # Tests start Python a thousand times: without compiled modules, also where the caller wants none, that takes twice
    # as long.
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(ROOT / ".nox" / "pycache")}
    environment = {"PATH": path, **compiled, **variables}
    session.run(str(programs / program), *arguments, env=environment, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and likely bugs."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(python=False)
def types(session: nox.Session) -> None:
    """Check the types of every distribution, strictly, and that tests call what exists."""
    run_in_workspace(session, "mypy", *(f"{path}/src" for path in DISTRIBUTIONS))
    tests = [path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("plugins/*/tests"))]
    # Not what is not installed, nor what must not pass.
    skipped = ("--explicit-package-bases", "--exclude", "third_party|typing/refused")
    run_in_workspace(session, "mypy", *skipped, "core/tests", "kit/tests", "tests", "conftest.py", *tests)


@nox.session(python=False)
def tests(session: nox.Session) -> None:
    """All tests, on real servers. PENSTOCK_TEST_REQUIRE=kafka,redis,postgres,nats makes a missing server a failure."""
    # Eight at a time on two cores: most of a test on a server is waiting. A file's tests stay together and share its
    # servers.
    arguments = ("-n", "8", "--dist", "loadfile", "--no-loadscope-reorder", *session.posargs)
    # The session `conformance` kills workers more often.
    kills = os.environ.get("PENSTOCK_CONFORMANCE_KILLS", "2")
    try:
        run_in_workspace(session, "pytest", *arguments, PENSTOCK_CONFORMANCE_KILLS=kills)
    except CommandFailed:
        # Beside others a test on a real server may miss its deadline: once more alone, and both results are printed.
        session.log("these tests failed beside others; they run once more, alone")
        again = ("-v", "--last-failed", "--last-failed-no-failures", "none")
        run_in_workspace(session, "pytest", *again, PENSTOCK_CONFORMANCE_KILLS=kills)


@nox.session
def conformance(session: nox.Session) -> None:
    """The conformance kit against every connector on real servers, and against mutants; prints the matrix."""
    install_workspace(session, *group("test"))
    suites = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("plugins/*/tests/test_conformance*.py"))
    report, mutants = (Path(session.create_tmp()) / name for name in ("conformance.json", "mutants.txt"))
    report.unlink(missing_ok=True)
    mutants.unlink(missing_ok=True)
    whole = {"PENSTOCK_CONFORMANCE_FULL": "1"}
    environment = {
        "PENSTOCK_CONFORMANCE_REPORT": str(report),
        "PENSTOCK_MUTANTS": str(mutants),
        # Of workers, in each test that kills some.
        "PENSTOCK_CONFORMANCE_KILLS": "20",
        **whole,
    }
    # A test that kills twenty workers takes longer than others may.
    kit = ("pytest", "-q", "-rfE", "--timeout", "900", "kit/tests/test_conformance_kit.py", *suites)
    try:
        # The recorder tells the process that prints what was proved in the others.
        spread = ("-n", "4", "--dist", "loadfile", "-p", "penstock_kit.recorder")
        session.run(*kit, *spread, *session.posargs, env=environment)
    except CommandFailed:
        session.log("these tests failed beside others; they run once more, alone, into the same report")
        session.run(*kit, "--last-failed", "--last-failed-no-failures", "none", env=environment)
    # The other versions of Redis; the one that comes first was tried above.
    for version in ("6.2", "7", "8"):
        command = ("pytest", "-q", "-rfEs", "-n", "4", "--dist", "worksteal", "plugins/redis/tests")
        session.run(*command, env={"PENSTOCK_TEST_REDIS_VERSION": version, **whole})
    # A third party's connector, with its own tests; they come after the report, which is about ours.
    session.install("tests/third_party/penstock-beanstalkd[test]")
    with session.chdir("tests/third_party/penstock-beanstalkd"):
        session.run("pytest", "-q", "-rfE", "-n", "4", "--dist", "worksteal", "-p", "no:cacheprovider")
    session.install("examples/own_connector")
    with session.chdir("examples/own_connector"):
        session.run("pytest", "-q", "-rfE", "-n", "4", "--dist", "worksteal", "-p", "no:cacheprovider", "conformance")
    if mutants.exists():
        print(mutants.read_text())


@nox.session(python=False)
def chaos(session: nox.Session) -> None:
    """Every fault in every scenario, counted by a ledger of its own; prints a table. `-- --help` shows the options."""
    run_in_workspace(session, "python", "-m", "tests.chaos", *session.posargs, PYTHONPATH=str(ROOT))


@nox.session(python=False)
def chaos_short(session: nox.Session) -> None:
    """The short form of `chaos`: each scenario under several faults, at most two minutes on two cores."""
    run_in_workspace(session, "python", "-m", "tests.chaos", "--short", *session.posargs, PYTHONPATH=str(ROOT))


@nox.session
def wheels(session: nox.Session) -> None:
    """Build every wheel, install each alone in a fresh environment, import it, run a five-line pipeline."""
    session.install(*group("wheels"))
    out = ROOT / "dist"
    shutil.rmtree(out, ignore_errors=True)
    session.run("python", "tests/wheels/check.py", str(out), *DISTRIBUTIONS)


@nox.session
def examples(session: nox.Session) -> None:
    """Run the README's first command and an error's install command in a fresh environment, as a new user would."""
    session.install("./core", "./plugins/memory")
    session.run("python", "tests/wheels/first_command.py", env={"PYTHONDONTWRITEBYTECODE": "1"})
    session.run("python", "tests/wheels/install_hint.py")


@nox.session
def bench(session: nox.Session) -> None:
    """Penstock beside hand-written loops over the raw client, on a real broker; prints ratios."""
    install_workspace(session, *group("bench"))
    session.run("python", "-m", "benchmarks.report", *session.posargs, env={"PYTHONPATH": str(ROOT)})
