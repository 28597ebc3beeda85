"""Words every command that installs, upgrades or repairs a distribution, so that it works on the reader's machine.

Where the core was installed from a clone, they name folders of the clone: Penstock may not be on a package index yet.
Elsewhere they name distributions.
"""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

import importlib_metadata

from penstock.plugins.hints import CORE, distribution_of, normalised


def install(extra: str) -> str:
    """The command that installs the plugin of an extra."""
    folder = _folder(distribution_of(extra))
    return f"pip install '{CORE}[{extra}]'" if folder is None else f"pip install {_quoted(folder)}"


def install_libraries(extra: str) -> str:
    """The command that installs the libraries of an extra that brings no plugin."""
    folder = _folder(CORE)
    return f"pip install {shlex.quote(f'{CORE if folder is None else folder}[{extra}]')}"


def install_again(distribution: str) -> str:
    """The command that installs what a distribution needs."""
    return f"pip install {_source(distribution)}"


def upgrade(*distributions: str) -> str:
    """The command that upgrades distributions."""
    return f"pip install --upgrade {' '.join(map(_source, distributions))}"


def reinstall(distribution: str) -> str:
    """The command that repairs the files of a distribution."""
    return f"pip install --force-reinstall {_source(distribution)}"


def _source(distribution: str) -> str:
    """What pip is given for a distribution: its folder in the clone, else its name."""
    folder = _folder(distribution)
    return distribution if folder is None else _quoted(folder)


def _folder(distribution: str) -> Path | None:
    """The folder of one of our distributions in the clone that the core was installed from, or None."""
    clone, short = _clone(), normalised(distribution).removeprefix("penstock-")
    if clone is None or short == normalised(distribution):
        return None
    found = (folder for folder in (clone / short, clone / "plugins" / short) if (folder / "pyproject.toml").is_file())
    return next(found, None)


def _clone() -> Path | None:
    """The clone that the core was installed from; None if it came from a package index, or the clone has gone."""
    with suppress(Exception):  # the metadata are damaged or missing; an error that needs a hint must still be told
        text = importlib_metadata.distribution(CORE).read_text("direct_url.json")
        address = urlsplit(json.loads(text)["url"]) if text else None
        if address is not None and address.scheme == "file":
            clone = Path(unquote(address.path)).parent
            return clone if (clone / "core" / "pyproject.toml").is_file() else None
    return None


def _quoted(folder: Path) -> str:
    return shlex.quote(str(folder))
