"""What the metadata say about plugins, read once, however damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import importlib_metadata
import pytest
from tests.plugins.distributions import Distribution, install_only, offers_connector, plugin

from penstock.plugins import discovery
from penstock.plugins.registry import Registry

Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Install:
    """Make the process see the core and the given distributions only."""
    return lambda *distributions: install_only(monkeypatch, tmp_path, *distributions)


def _damaged(text: str) -> Distribution:
    """A distribution whose entry_points.txt is `text`."""

    class Damaged(Distribution):
        def files(self) -> dict[str, str]:
            return {name: text if name.endswith("entry_points.txt") else was for name, was in super().files().items()}

    return Damaged("acme-damaged", {})


def test_the_cores_own_come_first_then_by_distribution(install: Install) -> None:
    """The order of a listing does not depend on the order of a directory."""
    install(plugin("zebra", "a", ""), plugin("Acme_Two", "b", ""), plugin("acme-one", "c", ""))

    found = [(entry.distribution, entry.version, entry.name, entry.module) for entry in discovery.scan()]

    assert found == [
        ("penstock-core", "9.9", "builtin", "penstock.builtin.plugin"),
        ("acme-one", "1.0.0", "c", "acme_one.plugin"),
        ("Acme_Two", "1.0.0", "b", "Acme_Two.plugin"),
        ("zebra", "1.0.0", "a", "zebra.plugin"),
    ]


def test_the_metadata_are_read_once_a_process(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second registry does not read them again."""
    install(plugin("acme-queues", "acme", ""))
    first = discovery.scan()
    monkeypatch.setattr(importlib_metadata, "entry_points", lambda **_: pytest.fail("read again"))

    assert discovery.scan() is first


def test_what_is_installed_meanwhile_is_seen(install: Install, tmp_path: Path) -> None:
    """A distribution that appears on the path is found by the next lookup of a new registry."""
    install()
    assert Registry().names("connector") == []

    plugin("acme-queues", "acme", offers_connector("acme", "x")).unpack(tmp_path)

    assert Registry().names("connector") == ["acme"]


@pytest.mark.parametrize("text", ["[console_scripts]\nthis is no entry point\n", "[other\n= nothing\n", "\x00\xff"])
def test_a_distribution_with_damaged_metadata_disturbs_no_plugin(text: str, install: Install) -> None:
    """A distribution that is not a plugin, and whose entry points cannot be read, is not even mentioned."""
    install(_damaged(text), plugin("acme-queues", "acme", offers_connector("acme", "x")))

    assert [entry.distribution for entry in discovery.scan()] == ["penstock-core", "acme-queues"]
    assert Registry().connector("acme").name == "acme"


def test_a_plugin_with_damaged_metadata_is_listed_as_broken(install: Install) -> None:
    """It says `[penstock]`, but what follows cannot be read: the list names it, and the others work."""
    install(
        _damaged("[penstock]\nthis is no entry point\n"), plugin("acme-queues", "acme", offers_connector("acme", "x"))
    )
    registry = Registry()

    offer = next(offer for offer in registry.listing() if offer.distribution == "acme-damaged")

    assert (offer.kind, offer.state) == ("plugin", "broken")
    assert "its entry_points.txt cannot be read" in offer.problem
    assert offer.problem.endswith("pip install --force-reinstall acme-damaged")
    assert registry.connector("acme").name == "acme"


def test_a_plugin_without_metadata_of_its_own_still_works(install: Install, tmp_path: Path) -> None:
    """A distribution without METADATA is a plugin without a version, not a traceback."""
    install(plugin("acme-queues", "acme", offers_connector("acme", "x")))
    (tmp_path / "acme_queues-1.0.0.dist-info" / "METADATA").unlink()
    registry = Registry()

    assert registry.connector("acme").name == "acme"
    assert [listed.state for listed in registry.listing() if listed.distribution == "?"] == ["ok"]
    assert {listed.state for listed in registry.listing()} == {"ok"}


def test_entry_points_that_are_not_utf_8_disturb_no_plugin(install: Install, tmp_path: Path) -> None:
    """A third party's are passed over; those of a distribution that is named as a plugin are told."""
    install(_damaged("[console_scripts]\n"), plugin("acme-queues", "acme", offers_connector("acme", "x")))
    for file in tmp_path.rglob("acme_damaged*/entry_points.txt"):
        file.write_bytes(b"[console_scripts]\ncaf\xe9 = a:b\n")

    registry = Registry()

    assert registry.connector("acme").name == "acme"
    assert [offer.distribution for offer in registry.listing() if offer.state != "ok"] == []
