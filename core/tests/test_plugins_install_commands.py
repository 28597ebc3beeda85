"""Install commands name the clone that the core came from, or distributions of a package index."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.plugins.distributions import install_only

from penstock.plugins.install_commands import install, install_again, reinstall, upgrade

FROM_AN_INDEX = "pip install 'penstock-core[kafka]'"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with the core and two more distributions; its path must be quoted for a shell."""
    folder = tmp_path / "my clone"
    for name in ("core", "kit", "plugins/kafka"):
        (folder / name).mkdir(parents=True)
        (folder / name / "pyproject.toml").touch()
    return folder


@pytest.fixture
def install_core(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> object:
    """Install a core for which pip has recorded this address."""

    def install_it(record: str | None) -> None:
        install_only(monkeypatch, tmp_path / "site")
        if record is not None:
            (tmp_path / "site" / "penstock_core-9.9.dist-info" / "direct_url.json").write_text(record)

    return install_it


def _record(folder: Path) -> str:
    return json.dumps({"url": folder.as_uri(), "dir_info": {"editable": True}})


def test_a_core_from_a_clone_names_folders_of_the_clone(install_core, clone: Path) -> None:
    """They are whole paths, because the reader may be in any folder."""
    install_core(_record(clone / "core"))

    assert install("kafka") == f"pip install '{clone}/plugins/kafka'"
    assert install_again("penstock-kafka") == f"pip install '{clone}/plugins/kafka'"
    assert upgrade("penstock-core", "acme-queues") == f"pip install --upgrade '{clone}/core' acme-queues"
    assert reinstall("Penstock_Kit") == f"pip install --force-reinstall '{clone}/kit'"


def test_a_distribution_that_the_clone_does_not_have_is_named(install_core, clone: Path) -> None:
    """A third party's plugin comes from elsewhere, even if it is called penstock-… or as a folder of the clone."""
    install_core(_record(clone / "core"))

    assert install("rsmq") == "pip install 'penstock-core[rsmq]'"
    assert upgrade("penstock-acme") == "pip install --upgrade penstock-acme"
    assert reinstall("kafka") == "pip install --force-reinstall kafka"


@pytest.mark.parametrize(
    "record",
    [None, "", "{", "[]", '{"url": 7}', '{"url": "https://example.org/core"}', '{"url": "file:///nowhere/core"}'],
)
def test_a_core_from_anywhere_else_names_distributions(record: str | None, install_core) -> None:
    """From a package index pip records nothing; a clone that has gone, or a damaged record, is not an error."""
    install_core(record)

    assert install("kafka") == FROM_AN_INDEX
    assert install_again("penstock-kafka") == "pip install penstock-kafka"
    assert upgrade("penstock-core") == "pip install --upgrade penstock-core"
    assert reinstall("penstock-kafka") == "pip install --force-reinstall penstock-kafka"


def test_a_wheel_that_lies_in_a_folder_is_not_a_clone(install_core, clone: Path) -> None:
    """Its folder has no plugins to install."""
    install_core(json.dumps({"url": (clone / "dist" / "penstock_core-9.9.whl").as_uri(), "archive_info": {}}))

    assert install("kafka") == FROM_AN_INDEX
