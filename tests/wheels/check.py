"""Builds each wheel, installs it alone in a fresh environment, imports it and runs a pipeline. Run by `nox -s wheels`.

python tests/wheels/check.py DIRECTORY_OF_WHEELS DISTRIBUTION...
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
import zipfile
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from email.parser import Parser
from pathlib import Path

HERE = Path(__file__).parent
LICENSE = HERE.parents[1] / "LICENSE"
URLS = {"Repository", "Documentation", "Changelog", "Issues"}
COMMAND_TIMEOUT = 300  # seconds; an install may download


def build(distribution: str, wheels: Path) -> None:
    """Build a distribution's archive of sources, and its wheel from that."""
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(wheels), distribution)


def download(wheels: list[Path], folder: str) -> None:
    """Get what all wheels require into a folder: each pip would ask the index again, for half of its time."""
    siblings = str(wheels[0].parent)
    wanted = [f"{wheel}[cli]" if wheel.name.startswith("penstock_core-") else str(wheel) for wheel in wheels]
    call(sys.executable, "-m", "pip", "download", "--quiet", "--dest", folder, "--find-links", siblings, *wanted)


def check(wheel: Path, wheelhouse: str) -> str:
    """Check one wheel; returns a summary, or raises with the output of the command that failed."""
    module = wheel.name.split("-")[0].removesuffix("_core")
    metadata = metadata_of(wheel)
    bounds = siblings(wheel, metadata)
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, symlinks=True)
        python = str(Path(folder) / "bin" / "python")
        # Only what it requires is installed: a missing dependency shows.
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile", "--no-index"]
        call(*pip, "--find-links", wheelhouse, str(wheel))
        assert f"{module}/py.typed" in zipfile.ZipFile(wheel).namelist(), f"{wheel.name} is not typed: no py.typed"
        list_plugins = "from penstock.cli.main import main; raise SystemExit(main(['plugins', '--check']))"
        listing = call(python, "-c", f"import {module}; assert {module}.__version__; {list_plugins}", cwd=folder)
        assert "pydantic" in listing, listing
        typos = call(python, str(HERE / "typo.py"), cwd=folder).strip()
        seen = call(python, str(HERE / "pipeline.py"), cwd=folder).strip()
        if module == "penstock":
            # So far all was done without the optional libraries.
            call(python, "-c", "import importlib.util; assert importlib.util.find_spec('rich') is None")
            call(*pip, "--find-links", wheelhouse, f"{wheel}[cli]")
            call(python, "-c", "import rich.table", cwd=folder)
            assert "penstock" in call(python, "-m", "penstock", "completion", "bash", cwd=folder)
    told = f"typos of {typos or 'no connector'} told"
    return f"{wheel.name}: installed alone, {seen}, {told}, bounds {', '.join(bounds) or 'none needed'}"


def metadata_of(wheel: Path) -> Message:
    """The wheel's metadata; checks that the wheel has the licence and the addresses."""
    with zipfile.ZipFile(wheel) as archive:
        folder = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA")).rpartition("/")[0]
        metadata = Parser().parsestr(archive.read(f"{folder}/METADATA").decode())
        licence = archive.read(f"{folder}/licenses/LICENSE")
    assert licence == LICENSE.read_bytes(), f"{wheel.name} has another LICENSE than the repository"
    found = {each.partition(",")[0] for each in metadata.get_all("Project-URL", [])}
    assert found >= URLS, f"{wheel.name} has no project URL for {', '.join(sorted(URLS - found))}"
    return metadata


def siblings(wheel: Path, metadata: Message) -> list[str]:
    """The bounds on distributions of this workspace; checks that each is a range with both ends."""
    required = [each.split(";")[0].strip() for each in metadata.get_all("Requires-Dist", [])]
    found = [each for each in required if each.startswith("penstock") and "[" not in each]
    for each in found:
        assert ">=" in each, f"{wheel.name} requires {each!r}: no lower bound"
        assert "<" in each, f"{wheel.name} requires {each!r}: no upper bound"
        assert "==" not in each, f"{wheel.name} requires {each!r}: an exact version"
    return sorted(set(found))


def call(*command: str, cwd: str | None = None) -> str:
    """Run a command; its output, or an error that shows it."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False, timeout=COMMAND_TIMEOUT)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} exited with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def main() -> None:
    wheels, distributions = Path(sys.argv[1]).resolve(), sys.argv[2:]
    with ThreadPoolExecutor(2) as pool, tempfile.TemporaryDirectory() as wheelhouse:
        list(pool.map(lambda distribution: build(distribution, wheels), distributions))
        found = sorted(wheels.glob("*.whl"))
        assert len(found) == len(distributions) >= 2, f"{len(found)} wheels of {len(distributions)} distributions"
        download(found, wheelhouse)
        for line in pool.map(lambda wheel: check(wheel, wheelhouse), found):
            print(line, flush=True)
    print(f"{len(found)} passed, 0 failed")


if __name__ == "__main__":
    main()
