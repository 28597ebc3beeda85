"""What to do about a program that cannot be imported, where its error alone does not say it."""

from __future__ import annotations

import re
from pathlib import Path

from penstock.plugins.hints import extra_for, nearest
from penstock.plugins.install_commands import install
from penstock.shadowing import hidden_library


def import_hint(error: BaseException, place: str) -> str | None:
    """A sentence of advice; None where the error says enough.

    Args:
        error: What importing the program raised.
        place: The file or module that was named.
    """
    if (hidden := hidden_library(error)) is not None:
        return hidden
    if not isinstance(error, ImportError):
        return None
    if "relative import" in str(error):
        return _relative(Path(place))
    missing = re.match(r"cannot import name '(\w+)'", str(error))
    wanted = ".".join([error.name or "", *(missing.groups() if missing else ())])
    if (extra := extra_for("module", wanted)) is not None:
        return install(extra)
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _missing(error.name.partition(".")[0], Path(place))
    return None


def _relative(path: Path) -> str:
    if path.suffix != ".py":
        return "name the program with its package, from the folder that holds the package: penstock run package.module"
    name = f"{path.resolve().parent.name}.{path.stem}"
    return (
        "a relative import needs a package, and a file alone is in none: name the module, from the folder that holds "
        f"the package: cd {_shown(path.resolve().parents[1])} && penstock run {name}; or import without the dot"
    )


def _missing(name: str, path: Path) -> str | None:
    folder = path.resolve().parent if path.suffix == ".py" else Path.cwd()
    for above in (folder.parent, Path.cwd()):
        if path.suffix == ".py" and (above / name).is_dir() and folder.is_relative_to(above):
            dotted = ".".join(path.resolve().relative_to(above).with_suffix("").parts)
            return (
                f"{name!r} is in {_shown(above)}: name the module from there: cd {_shown(above)} && "
                f"penstock run {dotted}"
            )
    beside = [each.stem for each in folder.iterdir() if each.suffix == ".py" or each.is_dir()]
    meant = nearest(name, beside)
    return None if meant is None else f"beside the program there is {meant!r}"


def _shown(folder: Path) -> str:
    return "." if folder == Path.cwd() else str(folder)
