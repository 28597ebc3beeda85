"""Names below `penstock` that other distributions offer."""

# mypy: disable-error-code="attr-defined, import-not-found"

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from penstock.cli.import_hints import import_hint
from penstock.errors import PluginError
from penstock.plugins.import_paths import resolve


def distribution(folder: Path, name: str, module: str, **offers: str) -> None:
    """Install a distribution with one module, which offers what that has in these modules of Penstock."""
    (folder / f"{name}.py").write_text(module)
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = "".join(f"penstock.{where.replace('__', '.')} = {home}\n" for where, home in offers.items())
    (metadata / "entry_points.txt").write_text(f"[penstock.names]\n{lines}")


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A distribution that offers a class in a module of ours, in a new module, and below both."""
    source = "class OldName: pass\nclass Hidden: pass\n__all__ = ['OldName']\n"
    where = dict.fromkeys(("serializers", "elsewhere", "connectors__old", "elsewhere__deep"), "acme_names")
    distribution(tmp_path, "acme_names", source, **where)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith(("penstock.elsewhere", "penstock.connectors.old", "acme")):
            del sys.modules[name]
    vars(import_module("penstock.serializers")).pop("OldName", None)
    for parent, name in (("penstock", "elsewhere"), ("penstock.connectors", "old")):
        vars(import_module(parent)).pop(name, None)


def test_a_name_is_found_where_it_is_offered(offered: Path) -> None:
    """In a module that Penstock has, in one that it has not, and below either; by import and by path."""
    from penstock.elsewhere import OldName, deep

    from penstock.connectors import old
    from penstock.serializers import OldName as OldSerializer

    assert OldName is deep.OldName is old.OldName is OldSerializer is import_module("acme_names").OldName
    assert resolve("penstock.connectors.old.OldName") is resolve("penstock.elsewhere:OldName") is OldName
    assert resolve("penstock.serializers.OldName") is OldName


def test_only_what_is_offered_is_found(offered: Path) -> None:
    """Not what stands beside it; and what Penstock has is never replaced."""
    with pytest.raises(ImportError, match=r"cannot import name 'Hidden' from 'penstock.serializers'"):
        from penstock.serializers import Hidden  # noqa: F401
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'penstock.connectors.older'"):
        import penstock.connectors.older  # noqa: F401
    with pytest.raises(PluginError, match=r"has no attribute 'OldNmae' .did you mean 'OldName'.."):
        resolve("penstock.elsewhere.OldNmae")


def test_two_offers_of_one_name_are_an_error(offered: Path) -> None:
    """Which names both; nothing is chosen silently."""
    distribution(offered, "acme_twin", "class OldName: pass\n__all__ = ['OldName']\n", serializers="acme_twin")
    sys.path.insert(0, str(offered / "."))  # another path, so that the metadata are read again
    try:
        with pytest.raises(ImportError, match=r"OldName is offered by acme_names and by acme_twin; uninstall"):
            from penstock.serializers import OldName  # noqa: F401
    finally:
        sys.path.pop(0)


def test_a_missing_module_of_ours_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the distribution that offers it is not installed."""
    monkeypatch.setattr("penstock.exports._offers", lambda _path: [])
    monkeypatch.delitem(sys.modules, "penstock.logging", raising=False)

    with pytest.raises(PluginError, match=r"'penstock' has no module 'logging'; pip install .*compat"):
        resolve("penstock.logging:logger")


def test_an_import_of_our_own_module_reads_no_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python asks the package for its name first, at the start of every worker."""
    import penstock

    asked: list[Any] = []
    monkeypatch.setattr("penstock.exports._offers", lambda path: asked.append(path) or [])
    for name in ("envelope", "config"):
        monkeypatch.delitem(vars(penstock), name, raising=False)
        assert not hasattr(penstock, name)

    assert asked == []
    assert not hasattr(penstock, "envelopes")
    assert asked


@pytest.mark.parametrize(
    "statement", ["import penstock.models", "from penstock.serializers import OrJsonSerialization"]
)
def test_a_program_that_needs_an_offered_name_is_told_what_to_install(
    statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `penstock run` and `penstock check`."""
    monkeypatch.setattr("penstock.exports._offers", lambda _path: [])
    monkeypatch.delitem(sys.modules, "penstock.models", raising=False)
    monkeypatch.delitem(vars(import_module("penstock.serializers")), "OrJsonSerialization", raising=False)

    with pytest.raises(ImportError) as raised:
        exec(statement)

    assert re.fullmatch("pip install .*compat.*", import_hint(raised.value, "app.py") or "")
