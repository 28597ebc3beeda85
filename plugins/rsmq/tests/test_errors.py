"""Every error of the client has one meaning of ours, and no text carries a body."""

from __future__ import annotations

import inspect

import pytest
import redis.exceptions as r

from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock_rsmq.errors import ERRORS, Moved, TemporarilyRefused

# A bug of ours, a refusal of what we asked, or an error of commands that we do not use: the engine stops and shows it.
PLAIN = {
    "RedisError",
    "RedisClusterException",
    "ResponseError",
    "DataError",
    "PubSubError",
    "WatchError",
    "NoScriptError",
    "ModuleError",
    "NoSuchFieldsetError",
    "LockError",
    "LockNotOwnedError",
    "ClusterError",
    # Of redis-py's client for clusters, which is not used.
    "ChildDeadlockedError",
    "CrossSlotTransactionError",
    "IncorrectPolicyType",
    "InvalidPipelineStack",
    "SlotNotCoveredError",
}


def test_every_error_class_of_the_client_has_a_row() -> None:
    """A redis-py that grows an error class makes this fail until it is decided what it means."""
    classes = [c for c in vars(r).values() if inspect.isclass(c) and issubclass(c, r.RedisError)]

    assert ERRORS.unmapped(r) - PLAIN == set()
    assert len(classes) > 15


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (r.ConnectionError("Error 111 connecting to h:1. Connection refused."), NotConnected),
        (r.TimeoutError("Timeout reading from h:1"), NotConnected),
        (ConnectionResetError(104, "reset"), NotConnected),
        (r.BusyLoadingError("Redis is loading the dataset in memory"), NotConnected),
        (r.ReadOnlyError("You can't write against a read only replica."), NotConnected),
        (r.AuthenticationError("invalid username-password pair or user is disabled."), FatalConnectorError),
        (r.NoPermissionError("this user has no permissions to run the 'evalsha' command"), FatalConnectorError),
        (r.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"), FatalConnectorError),
        (r.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), TemporarilyRefused),
        (r.ResponseError("MISCONF Redis is configured to save RDB snapshots, but …"), TemporarilyRefused),
        (r.ResponseError("BUSY Redis is busy running a script."), TemporarilyRefused),
        (r.ResponseError("NOREPLICAS Not enough good replicas to write."), TemporarilyRefused),
        (r.ResponseError("NOQUEUE there is no such queue"), NotConnected),
        (
            r.ResponseError(
                "Error running script (call to f_ab): @user_script:9: @user_script: 9: -OOM command not allowed"
            ),
            TemporarilyRefused,
        ),
        (
            r.ResponseError("Error running script (call to f_ab): @user_script:9: -READONLY You can't write"),
            NotConnected,
        ),
        (
            r.ResponseError("Error running script (call to f_ab): @user_script:7: WRONGTYPE Operation against a key"),
            FatalConnectorError,
        ),
        (r.ResponseError("ERR something new"), ConnectorError),
    ],
)
def test_an_answer_of_the_server_means_one_thing(error: Exception, kind: type[ConnectorError]) -> None:
    """Away, refused for now, refused for good, or a plain refusal."""
    ours = ERRORS.translate(error, "h:1")

    assert type(ours) is kind
    assert "h:1" in str(ours)


def test_a_moved_queue_says_where_it_is() -> None:
    """The answer of a Redis Cluster becomes an address to go to."""
    with pytest.raises(Moved, match=r"10\.0\.0\.7:6381") as moved, ERRORS.translating("h:1"):
        raise r.MovedError("3999 10.0.0.7:6381")

    assert moved.value.node == ("10.0.0.7", 6381)


def test_arguments_of_a_command_are_not_repeated() -> None:
    """Redis quotes the arguments of a command that it does not know, and those hold bodies."""
    error = r.ResponseError("unknown command 'EVALSHA', with args beginning with: 'ab12' '2' 'the-body'")

    assert "the-body" not in str(ERRORS.translate(error, "h:1"))


def test_a_refused_password_comes_with_its_remedy() -> None:
    """The text names the key and the variable to look at."""
    assert "REDIS_PASSWORD" in str(ERRORS.translate(r.AuthenticationError("Authentication required."), "h:1"))
