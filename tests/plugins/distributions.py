"""Small distributions made by hand: as a wheel for pip, or laid out as pip would have done."""

from __future__ import annotations

import base64
import hashlib
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import invalidate_caches
from pathlib import Path

import pytest

SOUND = """
from penstock.hookspecs import hookimpl
from penstock.specs import {spec}

PLUGIN_API = 1

@hookimpl
def {hook}():
    return [{offer}]
"""


@dataclass(frozen=True)
class Distribution:
    """A distribution with plugins in it.

    Attributes:
        modules: File in the wheel → source.
        entry_points: Name → value, in the group `penstock`.
    """

    name: str
    modules: Mapping[str, str]
    entry_points: Mapping[str, str] = field(default_factory=dict)
    version: str = "1.0.0"

    @property
    def _info(self) -> str:
        return f"{self.name.replace('-', '_')}-{self.version}.dist-info"

    def _metadata(self) -> Iterator[tuple[str, str]]:
        yield "METADATA", f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}\n"
        yield "WHEEL", "Wheel-Version: 1.0\nGenerator: penstock-tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        lines = [f"{name} = {value}" for name, value in self.entry_points.items()]
        yield "entry_points.txt", "\n".join(["[penstock]", *lines, ""])

    def files(self) -> Mapping[str, str]:
        """Everything in the wheel but RECORD."""
        return {**self.modules, **{f"{self._info}/{name}": text for name, text in self._metadata()}}

    def wheel(self, folder: Path) -> Path:
        """Write a wheel that pip installs."""
        path = folder / f"{self.name.replace('-', '_')}-{self.version}-py3-none-any.whl"
        record = []
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in self.files().items():
                archive.writestr(name, text)
                digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
                record.append(f"{name},sha256={digest},{len(text.encode())}\n")
            archive.writestr(f"{self._info}/RECORD", "".join([*record, f"{self._info}/RECORD,,\n"]))
        return path

    def unpack(self, folder: Path) -> None:
        """Lay the files out in a folder for `sys.path`."""
        for name, text in self.files().items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)


def plugin(
    distribution: str,
    entry_point: str,
    source: str,
    *,
    version: str = "1.0.0",
    modules: Mapping[str, str] | None = None,
) -> Distribution:
    """A distribution with one plugin, whose module `<package>.plugin` has the given source."""
    package = distribution.replace("-", "_")
    return Distribution(
        distribution,
        {
            f"{package}/__init__.py": "",
            f"{package}/plugin.py": source,
            **{f"{package}/{name}": text for name, text in (modules or {}).items()},
        },
        {entry_point: f"{package}.plugin"},
        version,
    )


def offers_connector(name: str, module: str, summary: str = "") -> str:
    """The source of a plugin module that offers one connector, whose classes live in `module`."""
    offer = f"ConnectorSpec({name!r}, consumer='{module}:Consumer', producer='{module}:Producer', summary={summary!r})"
    return SOUND.format(spec="ConnectorSpec", hook="penstock_connectors", offer=offer)


def offers_serializer(name: str, target: str) -> str:
    """The source of a plugin module that offers one serializer."""
    offer = f"SerializerSpec({name!r}, target={target!r})"
    return SOUND.format(spec="SerializerSpec", hook="penstock_serializers", offer=offer)


def offers_profile(name: str, connector: str) -> str:
    """The source of a plugin module that offers one profile."""
    return SOUND.format(spec="Profile", hook="penstock_profiles", offer=f"Profile({name!r}, {connector!r})")


def install_only(monkeypatch: pytest.MonkeyPatch, folder: Path, *distributions: Distribution) -> None:
    """Make this process see the core and `distributions`, and nothing else that the environment has.

    What the test itself needs of the environment must be imported by then.
    """
    core = Distribution("penstock-core", {}, {"builtin": "penstock.builtin.plugin"}, version="9.9")
    for distribution in (core, *distributions):
        distribution.unpack(folder)
        for file in distribution.modules:
            module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            # Set, so that the end of the test restores or removes it; deleted, so that it is imported anew.
            monkeypatch.setitem(sys.modules, module, sys)
            del sys.modules[module]
    path = [entry for entry in sys.path if "site-packages" not in entry and "dist-packages" not in entry]
    monkeypatch.setattr(sys, "path", [str(folder), *path])
    invalidate_caches()
