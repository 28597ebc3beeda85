"""What the errors of Redis and redis-py mean to the engine."""

from __future__ import annotations

import re

import redis.exceptions as r

from penstock.client_errors import ErrorTable
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock.tls import certificate_problem


class TemporarilyRefused(NotConnected):
    """The server answers but cannot write now (out of memory, disk full); nothing was done."""


_AWAY = (OSError, r.ConnectionError, r.TimeoutError, r.InvalidResponse, r.ReadOnlyError, r.ClusterDownError)
_MOVING = (r.AskError, r.MovedError, r.TryAgainError)
_WRONG_USER = (r.AuthenticationError, r.AuthorizationError, r.NoPermissionError)
_NEVER = (*_WRONG_USER, r.AuthenticationWrongNumberOfArgsError, r.ClusterCrossSlotError)

BY_TYPE: dict[type[BaseException], type[ConnectorError]] = {
    **dict.fromkeys((*_AWAY, *_MOVING), NotConnected),
    **dict.fromkeys(_NEVER, FatalConnectorError),
    **dict.fromkeys((r.OutOfMemoryError, r.ExecAbortError), TemporarilyRefused),
}
BY_CODE: dict[str, type[ConnectorError]] = {
    # NOGROUP: the stream or its group was deleted; connecting makes them again.
    **dict.fromkeys(
        ["CLUSTERDOWN", "LOADING", "MASTERDOWN", "NOGROUP", "READONLY", "TRYAGAIN", "UNBLOCKED"], NotConnected
    ),
    **dict.fromkeys(["BUSY", "MISCONF", "NOREPLICAS", "OOM"], TemporarilyRefused),
    **dict.fromkeys(["CROSSSLOT", "NOAUTH", "NOPERM", "WRONGPASS", "WRONGTYPE"], FatalConnectorError),
}
_PASSWORD = "check `username` and `password`, or the environment variable REDIS_PASSWORD"  # noqa: S105
_PERMISSION = "check the ACL of `username`; the connector's README lists the commands that the user needs"
_CLUSTER = "put a hash tag around the queue's name, `{orders}`"
REMEDIES: dict[str | type[BaseException], str] = {
    **dict.fromkeys(("NOAUTH", "WRONGPASS", r.AuthenticationError), _PASSWORD),
    **dict.fromkeys(("NOPERM", r.NoPermissionError, r.AuthorizationError), _PERMISSION),
    **dict.fromkeys(("CROSSSLOT", r.ClusterCrossSlotError), _CLUSTER),
    "WRONGTYPE": "the key holds something else; choose another `value`, or the connector that fits",
}

# Redis 6 wraps what a command in a script says: "ERR Error running script (…): @user_script:3: WRONGTYPE Operation …".
_IN_SCRIPT = re.compile(r"^(?:ERR )?Error running script .*@user_script: ?\d+: -?([A-Z]+) (.*)", re.DOTALL)
# redis-py prefixes an error of a pipeline with the command and its arguments.
_IN_PIPELINE = re.compile(r"^Command # \d+ \(.*\) of pipeline caused error: ", re.DOTALL)
_CODE = re.compile(r"^-?([A-Z]{2,}) ")


def _describe(error: BaseException) -> tuple[str, str]:
    if problem := certificate_problem(error):
        return problem, ""
    # "unknown command, with args beginning with: …" quotes arguments, and those are bodies.
    text = _IN_PIPELINE.sub("", str(error)).split(", with args", 1)[0].strip() or type(error).__name__
    if wrapped := _IN_SCRIPT.match(text):
        return wrapped[2], wrapped[1]
    coded = _CODE.match(text)
    return (text.removeprefix("-"), coded[1]) if coded and coded[1] in BY_CODE else (text, "")


ERRORS = ErrorTable("Redis", BY_TYPE, (r.RedisError, r.RedisClusterException), BY_CODE, REMEDIES, _describe)
