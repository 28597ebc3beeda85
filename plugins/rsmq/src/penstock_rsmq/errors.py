"""What the errors of Redis and redis-py mean to the engine."""

from __future__ import annotations

import re

import redis.exceptions as r

from penstock.client_errors import ErrorTable
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock.tls import certificate_problem


class TemporarilyRefused(NotConnected):
    """The server answers but cannot write now (out of memory, disk full); nothing was done."""


class Moved(NotConnected):
    """Another node of the Redis Cluster has this queue."""

    def __init__(self, text: str) -> None:
        super().__init__(text, retry_after=0.0)

    @property
    def node(self) -> tuple[str, int]:
        """Host and port of that node; the host is empty if it is the one that answered."""
        answer = self.__cause__
        assert isinstance(answer, r.MovedError)  # noqa: S101  (the table says so)
        return answer.host, answer.port


BY_TYPE: dict[type[BaseException], type[ConnectorError]] = {
    **dict.fromkeys((OSError, r.ConnectionError, r.TimeoutError, r.InvalidResponse), NotConnected),
    **dict.fromkeys((r.ReadOnlyError, r.ClusterDownError, r.AskError, r.TryAgainError), NotConnected),
    r.MovedError: Moved,
    **dict.fromkeys((r.AuthenticationError, r.AuthorizationError, r.NoPermissionError), FatalConnectorError),
    **dict.fromkeys((r.AuthenticationWrongNumberOfArgsError, r.ClusterCrossSlotError), FatalConnectorError),
    **dict.fromkeys((r.OutOfMemoryError, r.ExecAbortError), TemporarilyRefused),
}

# NOQUEUE is our scripts' own: the queue was there when we connected.
BY_CODE: dict[str, type[ConnectorError]] = {
    **dict.fromkeys(["CLUSTERDOWN", "LOADING", "MASTERDOWN", "NOQUEUE", "READONLY", "TRYAGAIN"], NotConnected),
    **dict.fromkeys(["BUSY", "MISCONF", "NOREPLICAS", "OOM"], TemporarilyRefused),
    **dict.fromkeys(["CROSSSLOT", "NOAUTH", "NOPERM", "WRONGPASS", "WRONGTYPE"], FatalConnectorError),
}

_CROSSSLOT = "on a Redis Cluster give the namespace a hash tag, `ns: '{rsmq}'`"
_PASSWORD = "check `username` and `password`, or the environment variable REDIS_PASSWORD"  # noqa: S105
_PERMISSION = "the connector's README lists the commands that the user needs"

REMEDIES: dict[str | type[BaseException], str] = {
    **dict.fromkeys(("CROSSSLOT", r.ClusterCrossSlotError), _CROSSSLOT),
    **dict.fromkeys(("NOAUTH", "WRONGPASS", r.AuthenticationError), _PASSWORD),
    **dict.fromkeys(("NOPERM", r.NoPermissionError, r.AuthorizationError), _PERMISSION),
    "WRONGTYPE": "a key of this queue's name holds something else; choose another queue name or `ns`",
}

# Redis 6 wraps what a command in a script says: "ERR Error running script (…): @user_script:3: WRONGTYPE Operation …",
# or "… @user_script:3: @user_script: 3: -OOM command not …".
_IN_SCRIPT = re.compile(r"^(?:ERR )?Error running script .*@user_script: ?\d+: -?([A-Z]+) (.*)", re.DOTALL)
# redis-py prefixes an error of a pipeline with the command and its arguments.
_IN_PIPELINE = re.compile(r"^Command # \d+ \(.*\) of pipeline caused error: ", re.DOTALL)
_CODE = re.compile(r"^-?([A-Z]{2,}) ")


def _describe(error: BaseException) -> tuple[str, str]:
    # "unknown command, with args beginning with: …" quotes arguments, and those are bodies.
    text = _IN_PIPELINE.sub("", str(error)).split(", with args", 1)[0].strip() or type(error).__name__
    if problem := certificate_problem(error):
        return f"{text}: {problem}", ""
    if isinstance(error, r.MovedError):
        return f"the queue lives at {error.host}:{error.port}", ""
    if wrapped := _IN_SCRIPT.match(text):
        return wrapped[2], wrapped[1]
    coded = _CODE.match(text)
    return (text.removeprefix("-"), coded[1]) if coded and coded[1] in BY_CODE else (text, "")


ERRORS = ErrorTable("Redis", BY_TYPE, (r.RedisError, r.RedisClusterException), BY_CODE, REMEDIES, _describe)
