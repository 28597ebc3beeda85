"""`penstock new plugin NAME`: writes a package with a connector that works, for the author to change."""

from __future__ import annotations

import re
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import yaml

from penstock.errors import ConfigError
from penstock.installed import owner_of

SUFFIX = ".tmpl"
"""The ending of every file of the template, so that tools do not take it for a module or a setting of the kit."""

LICENSES = {"MIT": "MIT", "proprietary": "LicenseRef-Proprietary"}
"""Values of `--license` → licence in the metadata (SPDX)."""

LONGEST_NAME = 30  # characters; with longer names the written package breaks its linter's limit

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_PLACEHOLDER = re.compile(r"penstock_acme|acme|Acme|ACME|YEAR|SPDX")
_PREFIX = re.compile(r"penstock[-_]", re.IGNORECASE)


class NewCommand:
    """The command that this plugin adds to `penstock`."""

    @staticmethod
    def configure(parser: ArgumentParser) -> None:
        """Add the arguments."""
        parser.add_argument("what", choices=["plugin"], help="what to write")
        parser.add_argument("name", metavar="NAME", help="what a configuration will write after `connector:`")
        parser.add_argument(
            "--directory", metavar="DIR", default=".", help="where to put the folder penstock-NAME (default: here)"
        )
        parser.add_argument(
            "--license", choices=LICENSES, default="MIT", help="the licence to begin with (default: MIT)"
        )
        parser.add_argument(
            "--server", action="store_true", help="write the tests for a server of yours, which they start and stop"
        )
        parser.epilog = (
            "The package works as it is written: its connector keeps queues in an SQLite file, and its tests pass. Its "
            "README says in which order to replace what."
        )

    @staticmethod
    def run(arguments: Namespace) -> int:
        """Write the package, and print what to do next.

        Raises:
            ConfigError: the name cannot be used, or the folder exists.
        """
        folder = write_plugin(arguments.name, Path(arguments.directory), arguments.license, server=arguments.server)
        print(
            f"{folder}: a plugin with the connector {arguments.name!r}; it works, and its README says what to replace"
        )
        if arguments.server:
            print(f"first: in {folder}/tests/conftest.py, say how your server is started; then its tests run")
        print(f"next: cd {folder} && pip install -e '.[test]' && pytest")
        return 0


def write_plugin(name: str, directory: Path, licence: str = "MIT", *, server: bool = False) -> Path:
    """Write the package `penstock-NAME` into a folder of that name.

    Args:
        name: The connector's name.
        directory: The folder to write into; it must exist.
        licence: One of `LICENSES`.
        server: The conformance tests are for a server, which they start, stop and pause.

    Returns:
        The new folder.

    Raises:
        ConfigError: the name cannot be used, or the folder exists. Nothing is written then.
    """
    _check_name(name)
    target = directory / f"penstock-{name}"
    try:
        if not directory.is_dir():
            raise ConfigError(f"--directory {directory}: there is no such folder; create it first")
        if target.exists() or target.is_symlink():
            raise ConfigError(f"{target} exists, and nothing is ever overwritten; choose another name or --directory")
        # Beside the target, so that one rename at the end gives a whole package or none.
        with tempfile.TemporaryDirectory(prefix=".penstock-new-", dir=directory) as draft:
            written = Path(draft) / target.name
            names = _names(name) | {"SPDX": LICENSES[licence]}
            templates = files("penstock_kit") / "templates"
            _write(templates / "plugin", written, names)
            _write(templates / "licenses" / licence, written, names)
            if server:
                _write(templates / "server", written, names)
            written.rename(target)
    except OSError as error:
        raise ConfigError(f"{target}: cannot be written: {error.strerror or error}") from error
    return target


def _check_name(name: str) -> None:
    bare = _PREFIX.sub("", name, count=1)
    if bare != name and _NAME.fullmatch(bare):
        raise ConfigError(f"{name!r}: leave out the prefix, which the distribution always has: write {bare!r}")
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is not a name for a plugin: write lower-case letters, digits and single '-' between them, a "
            f"letter first" + (f", such as {usable!r}" if (usable := _usable(bare)) else "")
        )
    if len(name) > LONGEST_NAME:
        raise ConfigError(f"{name!r} has {len(name)} characters; a plugin's name has at most {LONGEST_NAME}")
    read = yaml.safe_load(name)
    if not isinstance(read, str):
        raise ConfigError(f"{name!r} after `connector:` would be read as {read}, as YAML has it; choose another name")
    if owner := owner_of(name):
        raise ConfigError(f"{name!r} is taken by {owner}; two plugins with one name disturb each other, choose another")


def _usable(name: str) -> str:
    """The name that was probably meant; empty if there is none."""
    candidate = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return candidate if name.isascii() and _NAME.fullmatch(candidate) and not owner_of(candidate) else ""


def _names(name: str) -> dict[str, str]:
    words = name.split("-")
    return {
        "penstock_acme": f"penstock_{'_'.join(words)}",
        "acme": name,
        "Acme": "".join(word.capitalize() for word in words),
        "ACME": "_".join(words).upper(),
        "YEAR": str(datetime.now(UTC).year),
    }


def _write(template: Traversable, target: Path, names: Mapping[str, str]) -> None:
    for path, text in _texts(template):
        file = target / _filled(path.removesuffix(SUFFIX), names)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_filled(text, names), encoding="utf-8")


def _texts(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, str]]:
    for each in folder.iterdir():
        if each.is_dir():
            yield from _texts(each, f"{prefix}{each.name}/")
        elif each.name.endswith(SUFFIX):
            yield prefix + each.name, each.read_text(encoding="utf-8")


def _filled(text: str, names: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: names[found[0]], text)
