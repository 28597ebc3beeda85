"""Runs the command that an error suggests for a plugin that is not installed here, and uses the plugin then."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

LOOK_UP = "from penstock.plugins.registry import Registry; print(Registry().serializer('msgpack').name)"


def main() -> None:
    programs = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    refused = subprocess.run([sys.executable, "-c", LOOK_UP], capture_output=True, text=True, check=False)
    assert "UnknownNameError: " in refused.stderr, f"msgpack is installed already?\n{refused.stdout}{refused.stderr}"
    command = refused.stderr.strip().rpartition("; ")[2]
    # From another folder: the reader of an error may be anywhere.
    subprocess.run(["sh", "-c", f"{command} --quiet"], check=True, env=environment, cwd="/")
    found = subprocess.run([sys.executable, "-c", LOOK_UP], capture_output=True, text=True, check=True)
    assert found.stdout == "msgpack\n", found.stdout
    subprocess.run([sys.executable, "-m", "pip", "uninstall", "--yes", "--quiet", "penstock-msgpack"], check=True)
    print(f"the command of the error works: {command.replace(str(Path.cwd()), '…')}")


if __name__ == "__main__":
    main()
