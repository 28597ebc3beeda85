"""Every install command of the manual works in a clone today, and so do those of the errors."""

from __future__ import annotations

import re
import shlex

import pytest

from penstock.plugins import hints
from penstock.plugins.install_commands import install
from tests.sources import PYPROJECTS, ROOT, project

PAGES = [path for path in sorted(ROOT.rglob("*.md")) if not {"node_modules", ".nox", "third_party"} & set(path.parts)]
COMMAND = re.compile(r"pip install ((?:[^`\n#)&]|\\\n)+)")
NAMES_THE_INDEX = {"README.md", "docs/start.md"} | {
    (path.parent / "README.md").relative_to(ROOT).as_posix() for path in PYPROJECTS
}
"""Pages that say how Penstock will be installed once it is published; each gives the command for a clone first."""


def commands(text: str) -> list[list[str]]:
    """The arguments of each `pip install` on a page."""
    return [shlex.split(found) for found in COMMAND.findall(text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_page_installs_is_there(page) -> None:
    """Folders exist in the clone. Extras exist in the core; pages that name them give the clone's command first."""
    name, folders = page.relative_to(ROOT).as_posix(), []
    for words in commands(page.read_text()):
        ours = [word for word in words if "penstock" in word]
        folders += [word for word in words if word.startswith("./")]
        for word in ours:
            extras = re.fullmatch(r"penstock-core\[([a-z,]+)\]", word)
            assert extras, f"{word} is not on a package index"
            assert set(extras[1].split(",")) <= project(PYPROJECTS[0])["optional-dependencies"].keys()
            assert name in NAMES_THE_INDEX
            assert folders, "the command for a clone comes first: it is the one that works today"
    assert [folder for folder in folders if not (ROOT / folder / "pyproject.toml").is_file()] == []


def test_every_extra_has_its_folder_in_the_clone() -> None:
    """These tests run in a clone, so the command names a folder that pip can install."""
    extras = {name for name in project(PYPROJECTS[0])["optional-dependencies"] if hints.extra_of(f"penstock-{name}")}

    for extra in extras:
        (folder,) = shlex.split(install(extra).removeprefix("pip install "))
        assert folder == str(next(path.parent for path in PYPROJECTS if path.parent.name == extra))
