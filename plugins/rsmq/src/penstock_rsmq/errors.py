"""What Redis and PyRSMQ say, in Penstock's words: a table by error class, a table by the code an answer begins with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import redis.exceptions as r
from rsmq.cmd.exceptions import QueueDoesNotExist, RedisSMQException

from penstock.errors import ConnectorError, FatalConnectorError, NotConnected


class TemporarilyRefused(NotConnected):
    """The server is there and refused the write for now (out of memory, disk full); nothing was done."""


class Moved(NotConnected):
    """A Redis Cluster says that another node has this queue.

    Args:
        text: For people.
        host, port: That node; the host is empty if it is the one that answered.
    """

    def __init__(self, text: str, host: str, port: int) -> None:
        self.host = host
        self.port = port
        super().__init__(text, retry_after=0.0)


Kind = type[ConnectorError]

# The most specific class wins. A class without a row is a bug or a plain refusal: ConnectorError.
BY_CLASS: dict[type[Exception], Kind] = {
    OSError: NotConnected,
    r.ConnectionError: NotConnected,
    r.TimeoutError: NotConnected,
    r.InvalidResponse: NotConnected,
    r.AuthenticationError: FatalConnectorError,
    r.AuthorizationError: FatalConnectorError,
    r.AuthenticationWrongNumberOfArgsError: FatalConnectorError,
    r.NoPermissionError: FatalConnectorError,
    r.BusyLoadingError: NotConnected,
    r.ReadOnlyError: NotConnected,
    r.ClusterDownError: NotConnected,
    r.MasterDownError: NotConnected,
    r.AskError: NotConnected,
    r.TryAgainError: NotConnected,
    r.OutOfMemoryError: TemporarilyRefused,
    r.ExecAbortError: TemporarilyRefused,  # a transaction of PyRSMQ, refused for the reason of one of its commands
    r.ClusterCrossSlotError: FatalConnectorError,
    QueueDoesNotExist: NotConnected,
}

BY_CODE: dict[str, Kind] = {
    "BUSY": TemporarilyRefused,
    "CLUSTERDOWN": NotConnected,
    "CROSSSLOT": FatalConnectorError,
    "LOADING": NotConnected,
    "MASTERDOWN": NotConnected,
    "MISCONF": TemporarilyRefused,
    "NOAUTH": FatalConnectorError,
    "NOPERM": FatalConnectorError,
    "NOQUEUE": NotConnected,  # our scripts' own: it was there when we connected
    "NOREPLICAS": TemporarilyRefused,
    "OOM": TemporarilyRefused,
    "READONLY": NotConnected,
    "TRYAGAIN": NotConnected,
    "WRONGPASS": FatalConnectorError,
    "WRONGTYPE": FatalConnectorError,
}

REMEDIES = {
    "CROSSSLOT": "on a Redis Cluster give the namespace a hash tag, `ns: '{rsmq}'`",
    "NOAUTH": "check `username` and `password`, or the environment variable REDIS_PASSWORD",
    "NOPERM": "the connector's README lists the commands that the user needs",
    "WRONGPASS": "check `username` and `password`, or the environment variable REDIS_PASSWORD",
    "WRONGTYPE": "a key of this queue's name holds something else; choose another queue name or `ns`",
}

_CODES_OF_CLASSES = {
    r.ClusterCrossSlotError: "CROSSSLOT",
    r.NoPermissionError: "NOPERM",
    r.AuthenticationError: "WRONGPASS",
    r.AuthorizationError: "NOPERM",
}

# Redis 6 wraps what a command in a script says: "ERR Error running script (…): @user_script:3: … -OOM command not …".
_IN_SCRIPT = re.compile(r"^(?:ERR )?Error running script .*?-([A-Z]+) (.*)", re.DOTALL)
# redis-py prefixes an error of a pipeline with the command and its arguments.
_IN_PIPELINE = re.compile(r"^Command # \d+ \(.*\) of pipeline caused error: ", re.DOTALL)
_CODE = re.compile(r"^-?([A-Z]{2,}) ")


def as_connector_error(error: Exception, address: str) -> ConnectorError:
    """The error of ours that says what to do about `error`.

    Args:
        error: What redis-py, PyRSMQ or the socket raised.
        address: The server, for the text.
    """
    if isinstance(error, r.MovedError):
        return Moved(f"Redis at {address}: the queue lives at {error.host}:{error.port}", error.host, error.port)
    text, code = _told(error)
    kind = BY_CODE.get(code) or _kind_of_class(type(error))
    remedy = REMEDIES.get(code)
    return kind(f"Redis at {address}: {text}" + (f"; {remedy}" if remedy else ""))


@contextmanager
def connector_errors(address: str) -> Iterator[None]:
    """Whatever the client raises in this block leaves it as one of ours."""
    try:
        yield
    except (r.RedisError, r.RedisClusterException, RedisSMQException, OSError) as error:
        raise as_connector_error(error, address) from error


def _kind_of_class(kind: type[Exception]) -> Kind:
    return next((BY_CLASS[ancestor] for ancestor in kind.__mro__ if ancestor in BY_CLASS), ConnectorError)


def _told(error: Exception) -> tuple[str, str]:
    """The text without what could be a message, and the code that it begins with ("" if it has none)."""
    # "unknown command, with args beginning with: …" quotes arguments, and those are bodies.
    text = _IN_PIPELINE.sub("", str(error)).split(", with args", 1)[0].strip() or type(error).__name__
    wrapped = _IN_SCRIPT.match(text)
    if wrapped:
        return wrapped[2], wrapped[1]
    coded = _CODE.match(text)
    if coded and coded[1] in BY_CODE:
        return text.removeprefix("-"), coded[1]
    # redis-py strips the code where it has a class for it.
    return text, next((code for kind, code in _CODES_OF_CLASSES.items() if isinstance(error, kind)), "")
