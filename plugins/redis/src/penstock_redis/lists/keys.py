"""The keys of a list, and the scripts that work on them."""

from __future__ import annotations

from penstock_redis.connection import Script, beside

TAKE, PUSH = Script.load("lists/take"), Script.load("lists/push")
SETTLE, COUNT = Script.load("lists/settle"), Script.load("lists/count")


def list_keys(name: str) -> list[str]:
    """The keys beside a list: leases, what comes before the list, what was requeued with a delay, delayed records,
    and the hash of what was taken."""
    return beside(name, "leases", "back", "delayed", "later", "taken")
