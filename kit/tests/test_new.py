"""`penstock new plugin`: a whole package or none, and never over something else.

That what it writes works is shown in tests/third_party.
"""

from __future__ import annotations

import ast
import os
import re
import stat
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from penstock.cli.main import main
from penstock.errors import ConfigError
from penstock.plugins.install_commands import install
from penstock.version import __version__
from penstock_kit.new import LONGEST_NAME, write_plugin

Run = Callable[..., tuple[int, str, str]]

UNPRIVILEGED = 65534  # a user without any rights


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`penstock new plugin` in a folder of its own: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["new", "plugin", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def files(folder: Path) -> set[str]:
    """What stands in a folder, by path."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_whole_package_is_written(new: Run, tmp_path: Path) -> None:
    """With entry point, types, licence, CI and tests; and the next command is printed."""
    code, out, err = new("acme")

    assert (code, err) == (0, "")
    assert "cd penstock-acme && pip install -e '.[test]' && pytest" in out
    assert files(tmp_path) == {
        f"penstock-acme/{name}"
        for name in (
            ".github/workflows/ci.yml",
            ".gitignore",
            "LICENSE",
            "README.md",
            "pyproject.toml",
            "src/penstock_acme/__init__.py",
            "src/penstock_acme/consumer.py",
            "src/penstock_acme/database.py",
            "src/penstock_acme/options.py",
            "src/penstock_acme/plugin.py",
            "src/penstock_acme/producer.py",
            "src/penstock_acme/py.typed",
            "tests/test_conformance.py",
            "tests/test_options.py",
        )
    }


def test_tests_for_a_server_are_written_on_request(new: Run, tmp_path: Path) -> None:
    """They start it on a free port, and the kit gets it as the `server` of its fixture; else nothing changes."""
    code, out, _err = new("acme", "--server")

    assert code == 0
    assert "tests/conftest.py, say how your server is started" in out
    (tmp_path / "without").mkdir()
    write_plugin("acme", tmp_path / "without")
    assert files(tmp_path / "penstock-acme") - files(tmp_path / "without" / "penstock-acme") == {"tests/conftest.py"}
    tests = tmp_path / "penstock-acme" / "tests"
    assert "class AcmeServer(ServerProcess)" in (tests / "conftest.py").read_text()
    assert "self.server = server" in (tests / "test_conformance.py").read_text()
    for file in tests.glob("*.py"):
        ast.parse(file.read_text())


def test_the_metadata_follow_the_rules_for_plugins(tmp_path: Path) -> None:
    """One entry point, ranges that are neither exact nor open, the keyword by which plugins are found."""
    package = write_plugin("sea-shells", tmp_path)
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]

    assert project["name"] == "penstock-sea-shells"
    assert project["entry-points"] == {"penstock": {"sea-shells": "penstock_sea_shells.plugin"}}
    assert "penstock-plugin" in project["keywords"]
    assert project["requires-python"] == ">=3.11"
    for requirement in project["dependencies"]:
        assert re.fullmatch(r"[a-z-]+>=[\d.]+,<[\d.]+", requirement)


def test_the_name_is_everywhere_and_the_templates_nowhere(tmp_path: Path) -> None:
    """As it is spelt in text, modules, classes and environment variables; no placeholder is left."""
    package = write_plugin("sea-shells", tmp_path)
    everything = "\n".join([*files(package), *(path.read_text() for path in package.rglob("*") if path.is_file())])

    assert not re.search(r"acme|YEAR|SPDX|\.tmpl", everything, re.IGNORECASE)
    for spelling in ("connector: sea-shells", "penstock_sea_shells", "class SeaShellsConsumer", "SEA_SHELLS_PATH"):
        assert spelling in everything


@pytest.mark.parametrize("name", ["a", "s3", "sea-shells-2", "x" * LONGEST_NAME])
def test_what_is_written_is_python_of_the_width_it_asks_for(name: str, tmp_path: Path) -> None:
    """Also with the longest name."""
    package = write_plugin(name, tmp_path)

    for path in package.rglob("*.py"):
        ast.parse(path.read_text())
        assert max(map(len, path.read_text().splitlines()), default=0) <= 120, path


RULE = "is not a name for a plugin: write lower-case letters, digits and single '-' between them, a letter first"
PREFIX = "leave out the prefix, which the distribution always has: write"
DISTURB = "two plugins with one name disturb each other, choose another"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Acme", f"'Acme' {RULE}, such as 'acme'"),
        ("my_queue", f"'my_queue' {RULE}, such as 'my-queue'"),
        ("my queue", f"'my queue' {RULE}, such as 'my-queue'"),
        ("acme.queue", f"'acme.queue' {RULE}, such as 'acme-queue'"),
        ("a--b", f"'a--b' {RULE}, such as 'a-b'"),
        ("acme-", f"'acme-' {RULE}, such as 'acme'"),
        ("../acme", f"'../acme' {RULE}, such as 'acme'"),
        ("/tmp/acme", f"'/tmp/acme' {RULE}, such as 'tmp-acme'"),
        ("..", f"'..' {RULE}"),
        ("9lives", f"'9lives' {RULE}"),
        ("", f"'' {RULE}"),
        ("żółw", f"'żółw' {RULE}"),
        ("acme\x1b[31m\n", f"'acme\\x1b[31m\\n' {RULE}, such as 'acme-31m'"),
        ("Kafka", f"'Kafka' {RULE}"),  # no suggestion that would be refused as well
        ("penstock-acme", f"'penstock-acme': {PREFIX} 'acme'"),
        ("Penstock_acme", f"'Penstock_acme': {PREFIX} 'acme'"),
        ("penstock-Acme", f"'penstock-Acme' {RULE}, such as 'acme'"),
        ("penstock-", f"'penstock-' {RULE}"),
        ("x" * (LONGEST_NAME + 1), f"'{'x' * 31}' has 31 characters; a plugin's name has at most {LONGEST_NAME}"),
        ("on", "'on' after `connector:` would be read as True, as YAML has it; choose another name"),
        ("null", "'null' after `connector:` would be read as None, as YAML has it; choose another name"),
        ("kafka", f"'kafka' is taken by the plugin that `{install('kafka')}` installs; {DISTURB}"),
        ("confluent", f"'confluent' is taken by the plugin that `{install('kafka')}` installs; {DISTURB}"),
        ("json", f"'json' is taken by penstock-core {__version__}, which is installed here; {DISTURB}"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(name: str, sentence: str, new: Run, tmp_path: Path) -> None:
    """With what is wrong or what to write, and nothing is written."""
    code, out, err = new(name)

    assert (code, out, err) == (2, "", f"penstock: {sentence}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["class", "import", "true-colours"])
def test_words_of_python_are_names_like_others(name: str, tmp_path: Path) -> None:
    """Nothing in the package is called by the bare name; what is written can be compiled."""
    for path in write_plugin(name, tmp_path).rglob("*.py"):
        compile(path.read_text(), str(path), "exec")


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: path.symlink_to("nowhere")])
def test_nothing_is_overwritten(make: Callable[[Path], None], new: Run, tmp_path: Path) -> None:
    """Neither a folder, be it empty, nor a file, nor a link that leads nowhere."""
    place = tmp_path / "penstock-acme"
    make(place)

    def state() -> tuple[int, ...]:
        found = place.lstat()  # without the time of access, which looking changes
        return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns

    before = state()

    code, _out, err = new("acme")

    assert code == 2
    assert err == (
        "penstock: penstock-acme exists, and nothing is ever overwritten; choose another name or --directory\n"
    )
    assert state() == before
    assert list(tmp_path.iterdir()) == [place]


def test_it_goes_where_it_is_told(new: Run, tmp_path: Path) -> None:
    """The folder must exist: a misspelt one is not made."""
    (tmp_path / "there").mkdir()

    assert new("acme", "--directory", "there")[0] == 0
    assert (tmp_path / "there" / "penstock-acme" / "pyproject.toml").is_file()

    code, _out, err = new("acme", "--directory", "tehre")
    assert code == 2
    assert err == "penstock: --directory tehre: there is no such folder; create it first\n"


def test_a_place_that_cannot_even_be_looked_at_is_told(new: Run, tmp_path: Path) -> None:
    """The system's reason, and no traceback."""
    place = "x" * 300

    code, _out, err = new("acme", "--directory", place)

    assert code == 2
    assert err == f"penstock: {place}/penstock-acme: cannot be written: File name too long\n"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    """As an ordinary user meets it; root, who may write everywhere, becomes one for this."""
    (tmp_path / "theirs").mkdir(mode=0o555)
    if (uid := os.geteuid()) == 0:
        tmp_path.chmod(0o755)
        os.seteuid(UNPRIVILEGED)
    try:
        with pytest.raises(ConfigError) as refused:
            write_plugin("acme", tmp_path / "theirs")
    finally:
        os.seteuid(uid)

    assert str(refused.value).startswith(f"{tmp_path / 'theirs' / 'penstock-acme'}: cannot be written: ")
    assert str(refused.value).endswith("Permission denied")
    assert list((tmp_path / "theirs").iterdir()) == []


def test_the_help_says_what_is_written_and_where(capsys: pytest.CaptureFixture[str]) -> None:
    """And every choice; `penstock new plugin --help` says the same."""
    told = []
    for arguments in (["new", "--help"], ["new", "plugin", "--help"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        told.append(" ".join(capsys.readouterr().out.split()))

    assert told[0] == told[1]
    for sentence in (
        "NAME what a configuration will write after `connector:`",
        "--directory DIR where to put the folder penstock-NAME (default: here)",
        "--license {MIT,proprietary}",
        "The package works as it is written",
    ):
        assert sentence in told[0]


def test_what_cannot_be_written_leaves_nothing_half_written(
    new: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package appears in one step, as the last one."""

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)

    code, _out, err = new("acme")

    assert code == 2
    assert err == "penstock: penstock-acme: cannot be written: No space left on device\n"
    assert list(tmp_path.iterdir()) == []


def test_others_may_read_what_is_written(tmp_path: Path) -> None:
    """As far as the umask lets them: it is an ordinary folder."""
    (ordinary := tmp_path / "ordinary").mkdir()

    package = write_plugin("acme", tmp_path)

    assert stat.S_IMODE(package.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


@pytest.mark.parametrize(
    ("arguments", "identifier", "begins"),
    [
        ([], "MIT", "MIT License"),
        (["--license", "MIT"], "MIT", "MIT License"),
        (["--license", "proprietary"], "LicenseRef-Proprietary", f"Copyright (c) {datetime.now(UTC).year} "),
    ],
)
def test_the_licence_is_chosen(arguments: list[str], identifier: str, begins: str, new: Run, tmp_path: Path) -> None:
    """Text and metadata say the same."""
    assert new("acme", *arguments)[0] == 0

    package = tmp_path / "penstock-acme"
    assert tomllib.loads((package / "pyproject.toml").read_text())["project"]["license"] == identifier
    assert (package / "LICENSE").read_text().startswith(begins)
