"""The Lua scripts, one file each in `lua/`: what a queue needs to do in one step on the server."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from importlib.resources import files

MAX_MESSAGES = 500  # a script call; more would block the server, and every other client, for more than some 3 ms
MAX_BYTES = 8 * 1024 * 1024  # of bodies a script call, for the same reason


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the digest by which the server knows it, once it has seen it."""

    name: str
    text: str = field(repr=False)
    digest: str

    @classmethod
    def load(cls, name: str) -> Script:
        """Read `lua/<name>.lua` out of the package."""
        text = (files(__package__) / "lua" / f"{name}.lua").read_text(encoding="utf-8")
        return cls(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


PREPARE = Script.load("prepare")
RECEIVE = Script.load("receive")
SEND = Script.load("send")
DELETE = Script.load("delete")
VISIBILITY = Script.load("visibility")
RECORD_CALLS = Script.load("record_calls")
LAG = Script.load("lag")
IDS = Script.load("ids")
BROWSE = Script.load("browse")
BACKLOG = Script.load("backlog")
