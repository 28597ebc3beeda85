"""Every error of the client has one meaning of ours, and no text carries a body."""

from __future__ import annotations

import pytest
import redis.exceptions as r

from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock_redis.errors import ERRORS, TemporarilyRefused

PLAIN = {
    # A bug of ours, or a refusal of what we asked: the engine stops and shows it.
    *("RedisError", "RedisClusterException", "ResponseError", "DataError", "PubSubError", "NoScriptError"),
    # Of commands that are not used.
    *("WatchError", "ModuleError", "NoSuchFieldsetError", "LockError", "LockNotOwnedError"),
    # Of redis-py's client for clusters, which is not used.
    *("ClusterError", "ChildDeadlockedError", "CrossSlotTransactionError", "IncorrectPolicyType"),
    *("InvalidPipelineStack", "SlotNotCoveredError"),
}


def test_every_error_class_of_the_client_has_a_row() -> None:
    """A redis-py that grows an error class makes this fail until it is decided what it means."""
    assert ERRORS.unmapped(r) - PLAIN == set()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (r.ConnectionError("Error 111 connecting to h:1. Connection refused."), NotConnected),
        (r.TimeoutError("Timeout reading from h:1"), NotConnected),
        (r.BusyLoadingError("Redis is loading the dataset in memory"), NotConnected),
        (r.MovedError("3999 10.0.0.7:6381"), NotConnected),
        (r.ResponseError("NOGROUP No such key 'q' or consumer group 'g'"), NotConnected),
        (r.ResponseError("UNBLOCKED the stream key no longer exists"), NotConnected),
        (r.AuthenticationError("invalid username-password pair or user is disabled."), FatalConnectorError),
        (r.NoPermissionError("this user has no permissions to run the 'xadd' command"), FatalConnectorError),
        (r.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"), FatalConnectorError),
        (r.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), TemporarilyRefused),
        (r.ResponseError("MISCONF Redis is configured to save RDB snapshots, but …"), TemporarilyRefused),
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


def test_arguments_of_a_command_are_not_repeated() -> None:
    """Redis quotes the arguments of a command that it does not know, and redis-py those of a pipeline."""
    for text in (
        "unknown command 'XADD', with args beginning with: 'q' '*' 'body' 'the-body'",
        "Command # 1 (XADD q * body the-body) of pipeline caused error: OOM command not allowed",
    ):
        assert "the-body" not in str(ERRORS.translate(r.ResponseError(text), "h:1"))
