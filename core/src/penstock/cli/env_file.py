"""Reads a file of `NAME=value` lines into the environment, for `--env-file`."""

from __future__ import annotations

import os
import re
from pathlib import Path

from penstock.errors import ConfigError

_LINE = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_]\w*)\s*=\s*(?P<value>.*)")
_QUOTED = re.compile(r"""(?P<quote>["'])(?P<text>.*)(?P=quote)(?:\s+#.*)?""")


def fill_environment(path: str) -> None:
    """Set the variables of a file; one that is set already keeps its value.

    Raises:
        ConfigError: it cannot be read, or a line is not `NAME=value`. No line is shown, because it may hold a secret.
    """
    try:
        text = Path(path).read_text("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"--env-file {path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"--env-file {path}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if line and not line.startswith("#"):
            name, value = _variable(line, f"--env-file {path}:{number}")
            os.environ.setdefault(name, value)


def _variable(line: str, where: str) -> tuple[str, str]:
    found = _LINE.fullmatch(line)
    if found is None or "\0" in line:
        raise ConfigError(f"{where}: is not NAME=value; correct the line, or begin it with # if it is a comment")
    value = found["value"]
    if value[:1] not in ("'", '"'):
        return found["name"], re.split(r"(?:^|\s+)#", value, maxsplit=1)[0]
    if (quoted := _QUOTED.fullmatch(value)) is None:
        raise ConfigError(f"{where}: the quote does not end on its line; write the whole value on one line")
    return found["name"], quoted["text"]
